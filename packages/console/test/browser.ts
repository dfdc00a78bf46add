// Chromium before the console and the real API. Any message on the browser's console, a violation
// of the page's policy say, is collected.

import { existsSync } from 'node:fs';
import axe from 'axe-core';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';
import { afterAll, expect, onTestFinished } from 'vitest';
import type { OrderLimits } from '@latchkey/operations/contract';
import type { AdminFixture } from '@latchkey/test-support/admin-fixture';
import { ConsoleSite } from './console-site.js';
import { openPlant } from './plant.js';

/** Debian's. The one that can show no window takes half the time. */
const BROWSERS = ['/usr/bin/chromium-headless-shell', '/usr/bin/chromium'];
/** Path, if one is installed. */
export const CHROMIUM = BROWSERS.find((path) => existsSync(path));
export const PASSWORD = 'correct horse battery';
/** A busy machine is not a failure. */
export const TIMEOUT_MS = 90_000;
/** Where a page keeps the secret of its session (`console/src/session.ts`). */
const SECRET_KEY = 'latchkey.session';
/** More than any page of these tests has controls. */
const MAX_TABS = 150;
/** Rules of axe. */
export const STANDARDS: readonly string[] = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
/** An answer with such a status is part of a test: Chromium writes it to the console as well. */
const STATUS_MESSAGE = /^Failed to load resource: the server responded with a status of (?:4(?:0[0134]|12)|503)/;

export const id = (node: number): string => node.toString(16).padStart(8, '0');

let launched: Promise<Browser> | undefined;

/** One browser for all tests. */
export function launch(): Promise<Browser> {
  launched ??= chromium.launch({
    ...(CHROMIUM !== undefined && { executablePath: CHROMIUM }),
    // Root has no sandbox of its own.
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    timeout: TIMEOUT_MS,
  });
  return launched;
}

afterAll(async () => (await launched)?.close());

export interface Visit {
  readonly page: Page;
  readonly site: ConsoleSite;
  readonly fixture: AdminFixture;
  /** What the browser complained of. */
  readonly messages: string[];
}

/**
 * Opens a page for an administrator who is signed in. The one-time link is redeemed without a page.
 *
 * @param takesTokens whether commands reach the API
 */
export async function visit(path: string, options: BrowserContextOptions = {}, takesTokens: boolean = false): Promise<Visit> {
  const { site, fixture, link } = await openSite(undefined, takesTokens);
  const messages: string[] = [];
  const { cookie, secret } = await site.redeemLink(link, PASSWORD);
  const page = await openPage(site.origin, messages, { ...options, storageState: { cookies: [cookie], origins: [] } });
  // Only once in a tab: the page takes the secret away when the session ends.
  await page.addInitScript(`
    if (sessionStorage.getItem('test.visited') === null) {
      sessionStorage.setItem('test.visited', 'yes');
      sessionStorage.setItem('${SECRET_KEY}', '${secret}');
    }`);
  await page.goto(site.origin + path);
  await page.getByRole('button', { name: 'Preferences' }).waitFor();
  return { page, site, fixture, messages };
}

/**
 * Opens the first page for a person who has just set a password on the page of the one-time link:
 * an administrator, or an installer with limits.
 */
export async function visitByLink(options: BrowserContextOptions = {}, limits?: OrderLimits): Promise<Visit> {
  const { site, fixture, link } = await openSite(limits);
  const messages: string[] = [];
  const page = await enter(link, messages, options);
  await expect.poll(() => page.url()).toBe(`${site.origin}${limits === undefined ? '/' : '/install'}`);
  return { page, site, fixture, messages };
}

async function openSite(
  limits?: OrderLimits,
  takesTokens: boolean = false,
): Promise<{ site: ConsoleSite; fixture: AdminFixture; link: string }> {
  const fixture = await openPlant();
  const site = await ConsoleSite.start(fixture, undefined, takesTokens);
  return { site, fixture, link: await site.addUser('ada', limits === undefined ? 'admin' : 'installer', limits) };
}

/** Opens a one-time link in a browser of its own, and sets a password. */
export async function enter(link: string, messages: string[], options: BrowserContextOptions = {}): Promise<Page> {
  const page = await openPage(new URL(link).origin, messages, options);
  await page.goto(link);
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByLabel('The same again').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Preferences' }).waitFor();
  return page;
}

/** An empty page of a browser of its own. */
async function openPage(origin: string, messages: string[], options: BrowserContextOptions): Promise<Page> {
  const browser = await launch();
  const context = await browser.newContext({ locale: 'en-GB', timezoneId: 'Europe/Berlin', ...options });
  onTestFinished(() => context.close());
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  collectMessages(page, messages, origin);
  return page;
}

/** What the browser complains of while the page is of that origin. */
export function collectMessages(page: Page, messages: string[], origin: string): void {
  const isOwn = (): boolean => page.url().startsWith(`${origin}/`);
  page.on('console', (message) => {
    const isComplaint = ['error', 'warning'].includes(message.type());
    if (isComplaint && isOwn() && !STATUS_MESSAGE.test(message.text())) messages.push(message.text());
  });
  page.on('pageerror', (error) => {
    if (isOwn()) messages.push(String(error));
  });
}

/** The accessible name and role of what has the focus, as assistive technology gets it. */
export async function focused(page: Page): Promise<string> {
  return (await page.locator(':focus').ariaSnapshot()).split('\n')[0] ?? '';
}

/** The query of the page's URL. */
export function queryOf(page: Page): string {
  return new URL(page.url()).search;
}

/** The role and the label of what has the focus: cheaper than a snapshot for each step. */
const FOCUSED = `(({ activeElement: { tagName, type, ariaLabel, labels, innerText } }) => {
  const role = { A: 'link', BUTTON: 'button', SELECT: 'combobox' }[tagName] ?? (type === 'checkbox' ? type : 'textbox');
  return tagName === 'BODY' ? '' : role + ' "' + (ariaLabel ?? labels?.[0]?.innerText ?? innerText).trim() + '"';
})(document)`;

/** Moves the focus with the Tab key until it is on a control of that role and label. */
async function tabTo(page: Page, control: RegExp): Promise<void> {
  const passed: string[] = [];
  while (passed.length < MAX_TABS) {
    await page.keyboard.press('Tab');
    const now = await page.evaluate<string>(FOCUSED);
    if (control.test(now)) return;
    passed.push(now);
  }
  throw new Error(`no Tab leads to ${control.source}, only to\n${passed.join('\n')}`);
}

/** Goes to a control with the Tab key, and types into it in place of what it has. */
export async function typeInto(page: Page, control: RegExp, text: string): Promise<void> {
  await tabTo(page, control);
  await page.keyboard.press('Control+a');
  await page.keyboard.type(text);
}

/** Goes to a control with the Tab key, and presses a key there. */
export async function pressOn(page: Page, control: RegExp, key: string): Promise<void> {
  await tabTo(page, control);
  await page.keyboard.press(key);
}

/**
 * What axe finds wrong with the page.
 *
 * @param rules their names, or those of standards
 */
export async function faultsOf(page: Page, rules: readonly string[]): Promise<unknown> {
  if (await page.evaluate<boolean>('globalThis.axe === undefined')) await page.evaluate(axe.source);
  // No selectors, and no list of all that is right: only faults are shown.
  const options = { runOnly: rules, resultTypes: ['violations'], selectors: false };
  return page.evaluate(
    `axe.run(${JSON.stringify(options)})
      .then(({ violations }) => violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html).join(' ')))`,
  );
}

/** Signs in in the dialog that opens when a session has ended. */
export async function signInAgain(page: Page): Promise<void> {
  const dialog = page.getByRole('dialog', { name: 'Sign in' });
  await dialog.getByLabel('Password').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await dialog.waitFor({ state: 'detached' });
}
