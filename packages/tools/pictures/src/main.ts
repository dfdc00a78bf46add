/** `pnpm pictures`: the pictures of the console in docs/images, taken from the running demo. */

import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main, program, withExamples } from '@latchkey/runtime/cli';
import { demo, demoConsole, TestNetwork } from '@latchkey/testbed';
import type { Locator, Page } from 'playwright-core';
import { launchBrowser, openConsole, requireChromium, TIMEOUT_MS } from './browser.js';

const IMAGES = fileURLToPath(new URL('../../../../docs/images/', import.meta.url));
const LOOK = {
  colorScheme: 'light',
  reducedMotion: 'reduce',
  // In CSS pixels.
  viewport: { width: 1_240, height: 800 },
  deviceScaleFactor: 1.5,
} as const;

async function takePictures(): Promise<void> {
  requireChromium();
  await mkdir(IMAGES, { recursive: true });
  const network = await TestNetwork.create();
  const browser = await launchBrowser();
  try {
    const { server } = await demo(network, () => undefined);
    const { link, mixedUp } = await demoConsole(network, server, () => undefined);
    const page = await openConsole(browser, link, LOOK);
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
