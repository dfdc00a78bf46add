// What axe finds wrong with each page of the console, in each of its looks, and whether a page
// scrolls sideways.

import type { Page } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { CHROMIUM, faultsOf, id, STANDARDS, TIMEOUT_MS, visit } from './browser.js';
import { JOINED, UNPROVEN } from './plant.js';

interface Look {
  readonly name: string;
  readonly media: NonNullable<Parameters<Page['emulateMedia']>[0]>;
  readonly size: { readonly width: number; readonly height: number };
  /** All, or those that the look decides: a page in dark has been checked by all rules in light. */
  readonly rules: readonly string[];
}

/** Playwright's own size. */
const WIDE = { width: 1280, height: 720 };
const LIGHT: Look = { name: 'light', media: { colorScheme: 'light' }, size: WIDE, rules: STANDARDS };
const DARK: Look = { name: 'dark', media: { colorScheme: 'dark' }, size: WIDE, rules: ['color-contrast'] };
/** A window of 1280 px at 200 %. */
const ZOOMED: Look = { ...LIGHT, name: '200 %', size: { width: 640, height: 512 }, rules: ['target-size'] };
const NARROW: Look = {
  ...LIGHT,
  name: '320 px',
  size: { width: 320, height: 640 },
  rules: ['target-size', 'scrollable-region-focusable'],
};
/** The reader's own colours: what only colours say must be there in another way. */
const FORCED: Look = { ...NARROW, name: 'forced colours', media: { forcedColors: 'active' } };
const SIGNED_OUT: Look = { ...NARROW, name: 'signed out, dark, 320 px', media: { colorScheme: 'dark' }, rules: STANDARDS };

/** A page of the console, or one state of it. */
interface View {
  readonly path: string;
  /** There once the page is. */
  readonly ready: string;
  /** In the order of the checks: the page opens in the first. */
  readonly looks: readonly Look[];
  /**
   * How the page is opened. By a link as most people do: what is loaded stays, and axe with it.
   * Most time of this test is loading.
   */
  readonly by?: 'link' | 'address' | 'the view before';
  /** What is done on it before the checks. */
  readonly prepare?: (page: Page) => Promise<void>;
}

const USUAL = [LIGHT, DARK, NARROW];
/** Of the first page, and of two with wide tables. */
const EVERY_LOOK = [LIGHT, DARK, ZOOMED, NARROW];
const help = (page: Page): Promise<void> => page.keyboard.press('?');
const menu = (page: Page): Promise<void> => page.getByRole('button', { name: 'Preferences' }).click();
const drawerOf = (node: number): Pick<View, 'path' | 'ready' | 'by' | 'prepare'> => ({
  path: `/nodes?node=${id(node)}`,
  ready: '.drawer .entries',
  by: 'address',
});

async function endHelp(page: Page): Promise<void> {
  await page.keyboard.press('Escape');
  await page.getByRole('dialog', { name: 'Keyboard' }).waitFor({ state: 'detached' });
}

async function showCauses(page: Page): Promise<void> {
  await page.locator('.sites').waitFor();
  await page.getByText('What to do').first().click();
  expect(await page.locator('main [data-cause]').allInnerTexts()).toEqual([
    'No controller ever asked for it · 1 node',
    'It was answered, and proved nothing · 1 node',
  ]);
  const sites = await page.locator('.sites li').allInnerTexts();
  expect(sites.map((text) => text.replaceAll(/\s+/g, ' '))).toEqual(['without a site 19 of 19 joined', 'Plant 2 0 of 2 joined']);
}

async function chooseNodes(page: Page): Promise<void> {
  await page.getByLabel('Choose all nodes of this page').check();
  await page.getByRole('button', { name: 'Lifetime…' }).click();
  await page.getByLabel('Grace after that, in days').fill('9');
  await page.keyboard.press('Enter');
  await page.getByRole('dialog').getByText('9 days').waitFor();
}

async function mistakeOrder(page: Page): Promise<void> {
  await page.getByLabel('Order', { exact: true }).fill('Kim');
  await page.keyboard.press('Enter');
  await page.locator('.field-error').waitFor();
}

/** A box beside the text of another one would be ticked for it. */
async function alignScopes(page: Page): Promise<void> {
  const lefts = await page.evaluate<number[]>(
    `[...document.querySelectorAll('fieldset label')].map((label) => label.getClientRects()[0].left)`,
  );
  expect(lefts.length).toBeGreaterThan(3);
  expect(new Set(lefts).size).toBe(1);
}

async function editInstaller(page: Page): Promise<void> {
  await page.getByRole('button', { name: 'Edit Ada Installations' }).click();
  await expect.poll(() => page.getByLabel('Recipients').inputValue()).toMatch(/^age1/);
}

async function openPeriod(page: Page, row: RegExp): Promise<void> {
  await page.getByRole('row', { name: row }).last().getByRole('button').click();
  await page.locator('.sites').waitFor();
}

/** A link from a page to the same one would not make it anew: none stands behind itself. */
const VIEWS: readonly View[] = [
  { path: '/', ready: '.entries', by: 'the view before', looks: EVERY_LOOK },
  { path: '/', ready: '.entries', by: 'the view before', prepare: menu, looks: [NARROW, LIGHT, DARK] },
  { path: '/audit', ready: '.head', looks: USUAL },
  { path: '/audit', ready: '.head', by: 'the view before', prepare: help, looks: [LIGHT, DARK] },
  { path: '/audit', ready: '.head', by: 'the view before', prepare: endHelp, looks: [LIGHT] },
  { ...drawerOf(JOINED), looks: [LIGHT, DARK] },
  { ...drawerOf(UNPROVEN), prepare: menu, looks: [LIGHT, DARK] },
  // It fills a narrow screen if it is opened there.
  { ...drawerOf(UNPROVEN), looks: [NARROW] },
  { path: '/orders', ready: 'tbody tr', looks: USUAL },
  { path: '/nodes?starts=ff', ready: '.empty', looks: [LIGHT, DARK] },
  { path: '/orders?open=3', ready: '.drawer .facts', looks: [LIGHT, DARK] },
  { path: '/controllers', ready: 'tbody tr', looks: USUAL },
  { path: '/orders/3', ready: '.note details', prepare: showCauses, looks: USUAL },
  { path: '/nodes?order=1&order=2', ready: 'tbody tr', prepare: chooseNodes, looks: [LIGHT, DARK, NARROW] },
  { path: '/orders/new', ready: 'select[required]', looks: USUAL },
  { path: '/controllers?open=00000001', ready: '.drawer .facts', looks: [LIGHT, DARK] },
  { path: '/nodes', ready: 'tbody tr', looks: [DARK, ZOOMED, NARROW] },
  { path: '/exposure', ready: 'tbody tr', looks: USUAL },
  { path: '/calendar', ready: 'tbody tr', prepare: mistakeOrder, looks: USUAL },
  {
    path: '/calendar?by=week',
    ready: 'tbody tr',
    by: 'address',
    prepare: (page) => openPeriod(page, /week from/),
    looks: [NARROW, LIGHT, DARK],
  },
  { path: '/jobs', ready: '.empty', looks: USUAL },
  { path: '/waiting', ready: 'tbody tr', looks: USUAL },
  { path: '/users', ready: 'tbody tr', looks: EVERY_LOOK },
  { path: '/installers', ready: 'tbody tr', prepare: editInstaller, looks: USUAL },
  { path: '/tokens', ready: 'fieldset', prepare: alignScopes, looks: USUAL },
  {
    path: '/tokens',
    ready: 'fieldset',
    by: 'the view before',
    prepare: (page) => page.getByText('Limit it to some orders').click(),
    looks: [LIGHT, NARROW],
  },
  { path: '/account', ready: 'tbody tr', looks: USUAL },
  { path: '/code', ready: 'form', looks: USUAL },
];

describe.skipIf(CHROMIUM === undefined)('each page of the console (needs chromium)', { timeout: 6 * TIMEOUT_MS }, () => {
  it('has no fault that axe finds, and no sideways scroll, in light, in dark, at 200 % and on 320 px', async () => {
    const { page, site, messages } = await visit('/');
    const open = async ({ path, ready, by = 'link' }: Pick<View, 'path' | 'ready' | 'by'>): Promise<void> => {
      if (by === 'address') await page.goto(site.origin + path);
      if (by === 'link') await followLink(page, path);
      await page.locator(ready).first().waitFor();
    };
    const dress = async ({ media, size }: Look): Promise<void> => {
      await page.emulateMedia({ forcedColors: 'none', ...media });
      await page.setViewportSize(size);
    };
    const check = async (path: string, look: Look): Promise<void> => {
      await dress(look);
      expect([path, look.name, await faultsOf(page, look.rules)]).toEqual([path, look.name, []]);
      const excess = await page.evaluate(`
        [...document.querySelectorAll('dialog[open]')]
          .map(({ scrollWidth, clientWidth }) => scrollWidth - clientWidth)
          .concat(document.documentElement.scrollWidth - innerWidth)
          .filter((one) => one !== 0)`);
      expect([path, look.name, excess]).toEqual([path, look.name, []]);
    };

    for (const view of VIEWS) {
      await dress(view.looks[0] ?? LIGHT);
      await open(view);
      await view.prepare?.(page);
      for (const look of view.looks) await check(view.path, look);
    }

    await open({ path: '/nodes', ready: 'tbody tr' });
    await check('/nodes', FORCED);
    const outlineOf = (selector: string): Promise<unknown> =>
      page.evaluate(`getComputedStyle(document.querySelector('${selector}')).outlineStyle`);
    await page.locator('.states label').first().click();
    await expect.poll(() => outlineOf('.states label:has(:checked)')).toBe('solid');

    site.endSessions();
    await dress(SIGNED_OUT);
    await open({ path: '/audit', ready: '.modal', by: 'address' });
    await check('/audit', SIGNED_OUT);
    await page.getByRole('button', { name: 'another user' }).click();
    for (const path of ['/', '/sign-in#link=used']) {
      await open({ path, ready: '.sign-in-page', by: 'address' });
      await check(path, SIGNED_OUT);
    }
    expect(messages).toEqual([]);
  });
});

/** Goes to a page of the console without loading another document. */
async function followLink(page: Page, path: string): Promise<void> {
  await page.evaluate(`
    document.querySelector('main h1').dataset.left = '';
    const link = document.querySelector('nav a').cloneNode();
    link.href = ${JSON.stringify(path)};
    document.querySelector('nav').append(link);
    link.click();
    link.remove();`);
  // The page before is no longer there.
  await page.locator('main h1:not([data-left])').waitFor();
}
