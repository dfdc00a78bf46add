/** `pnpm pictures`: the pictures of the console in docs/images, taken from the running demo. */

import { existsSync } from 'node:fs';
import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main, program, withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { demo, demoConsole, TestNetwork } from '@latchkey/testbed';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';

const CHROMIUM = '/usr/bin/chromium';
const IMAGES = fileURLToPath(new URL('../../../../docs/images/', import.meta.url));
const PASSWORD = 'correct horse battery';
/** Of the window, in CSS pixels. */
const SIZE = { width: 1_240, height: 800 };
const SCALE = 1.5;
const TIMEOUT_MS = 180_000;

async function takePictures(): Promise<void> {
  if (!existsSync(CHROMIUM))
    throw new UsageFailure(`there is no ${CHROMIUM}`, { advice: 'Install it:', run: [['apt-get', 'install', 'chromium']] });
  await mkdir(IMAGES, { recursive: true });
  const network = await TestNetwork.create();
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    // Root has no sandbox of its own.
    args: process.getuid?.() === 0 ? ['--no-sandbox'] : [],
    timeout: TIMEOUT_MS,
  });
  try {
    const { server } = await demo(network, () => undefined);
    const { link, mixedUp } = await demoConsole(network, server, () => undefined);
    const page = await openConsole(browser, link);
    // The node asks on its own time, and the one without power expires on its own.
    await showUntil(page, `/?node=${mixedUp}`, '[data-cause="proof-missing"]');
    await page.locator('.drawer .entries').waitFor();
    await take(page.locator('.drawer'), 'why');
    await showUntil(page, '/', '.note a[href="/nodes?state=expired"]');
    await page.getByText('Live', { exact: true }).waitFor();
    await take(page, 'overview');
  } finally {
    await browser.close();
    await network.stop();
    await network.remove();
  }
}

async function openConsole(browser: Browser, link: string): Promise<Page> {
  const context = await browser.newContext({
    locale: 'en-GB',
    colorScheme: 'light',
    reducedMotion: 'reduce',
    viewport: SIZE,
    deviceScaleFactor: SCALE,
  });
  const page = await context.newPage();
  page.setDefaultTimeout(TIMEOUT_MS);
  await page.goto(link);
  await page.getByLabel('New password').fill(PASSWORD);
  await page.getByLabel('The same again').fill(PASSWORD);
  await page.keyboard.press('Enter');
  await page.getByRole('button', { name: 'Preferences' }).waitFor();
  return page;
}

/** Loads the page again until it has the element. */
async function showUntil(page: Page, path: string, selector: string): Promise<void> {
  const deadline = Date.now() + TIMEOUT_MS;
  do {
    await page.goto(new URL(path, page.url()).href);
    await page.locator('.entries time').first().waitFor();
    if ((await page.locator(selector).count()) > 0) return;
    await page.waitForTimeout(1_000);
  } while (Date.now() < deadline);
  throw new Error(`${path} does not show ${selector}`);
}

async function take(shown: Page | Locator, name: string): Promise<void> {
  const path = join(IMAGES, `console-${name}.png`);
  await shown.screenshot({ path });
  await chmod(path, 0o644);
  process.stdout.write(`${path}\n`);
}

await main(
  withExamples(
    program('pictures', 'takes the pictures of the console', new URL('../package.json', import.meta.url)),
    'npx -y pnpm@12 pictures',
  ).action(takePictures),
);
