/** The console in the system's Chromium, opened by a one-time link. */

import { existsSync } from 'node:fs';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type Browser, type BrowserContextOptions, chromium, type Page } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
const PASSWORD = 'correct horse battery';
export const TIMEOUT_MS = 180_000;

/** @throws UsageFailure without Chromium */
export function requireChromium(): void {
  if (existsSync(CHROMIUM)) return;
  throw new UsageFailure(`there is no ${CHROMIUM}`, { advice: 'Install it:', run: [['apt-get', 'install', 'chromium']] });
}

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({
    executablePath: CHROMIUM,
    // Root has no sandbox of its own.
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    timeout: TIMEOUT_MS,
  });
}

/** Sets the password of the link's user. */
export async function openConsole(browser: Browser, link: string, options: BrowserContextOptions): Promise<Page> {
  const context = await browser.newContext({ locale: 'en-GB', ...options });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  await page.goto(link);
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByLabel('The same again').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Preferences' }).waitFor();
  return page;
}
