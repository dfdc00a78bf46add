/**
 * `pnpm console:load`: after how long the console has nodes of a large registry on the screen. The
 * commands, the API and the browser are those of an installation, on this machine.
 */

import { main, program, withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { serveConsole, TestNetwork } from '@latchkey/testbed';
import type { Page } from 'playwright-core';
import { launchBrowser, openConsole, requireChromium } from './browser.js';

const MAX_NODES = 4_000_000;
/** Each page is loaded so often. */
const LOADS = 7;
const ORDERS = 4;
/** Rows within this time, in ms, are what the console promises. */
const GOAL_MS = 600;

const CONTROLLER = '00000001';
const VIEWPORT = { width: 1_280, height: 800 };

/** Paths, and what must be on the screen. */
const PAGES: readonly (readonly [path: string, shown: string])[] = [
  ['/nodes', 'tbody tr'],
  [`/nodes?state=enrolled&order=2&controller=${CONTROLLER}`, 'tbody tr'],
  ['/nodes?starts=7a3', 'tbody tr'],
  ['/nodes?q=a3f', 'tbody tr'],
  ['/orders', 'tbody tr'],
  ['/', '.tiles a'],
];

/** Notes when an element is drawn for the first time, in ms since the page was asked for. */
const NOTE_TIME = (shown: string): string => `
  new MutationObserver((_, observer) => {
    if (document.querySelector('${shown}') === null) return;
    observer.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => { globalThis.shownAt = performance.now(); }));
  }).observe(document, { childList: true, subtree: true });`;

/**
 * The time, once the frame with the element was drawn. The page waits by itself: a browser that is
 * asked again and again has less time for it.
 */
const SHOWN_AT = `new Promise((resolve, reject) => {
  const look = () => {
    if (globalThis.shownAt !== undefined) resolve(globalThis.shownAt);
    else if (performance.now() > 60_000) reject(new Error('not on the screen within 60 s'));
    else requestAnimationFrame(look);
  };
  look();
})`;

async function measure({ nodes }: { readonly nodes: number }): Promise<void> {
  if (!Number.isInteger(nodes) || nodes < ORDERS || nodes > MAX_NODES)
    throw new UsageFailure(`--nodes: expected a number from ${ORDERS} to ${MAX_NODES}`);
  requireChromium();
  const network = await TestNetwork.create();
  const browser = await launchBrowser();
  try {
    process.stdout.write(`Making a registry of ${nodes} nodes\n`);
    await network.addController(CONTROLLER, '192.0.2.1:5683', ['192.0.2.9:5693']);
    for (let order = 1; order <= ORDERS; order++) {
      const terms = ['--installer', `Installer ${order}`, '--controller', CONTROLLER];
      const count = ['--count', String(Math.floor(nodes / ORDERS)), '--out', network.path(`order-${order}`)];
      await network.run('auth-server', ['order', 'create', ...network.location(), ...terms, ...count]);
    }
    const { link } = await serveConsole(network);
    const page = await openConsole(browser, link, { viewport: VIEWPORT });
    // The first list makes the index.
    const begun = performance.now();
    await page.goto(new URL('/nodes', page.url()).href);
    await page.locator('tbody tr').first().waitFor();
    process.stdout.write(`First list after the start of the API: ${Math.round(performance.now() - begun)} ms\n\n`);
    process.stdout.write(`${'PAGE'.padEnd(56)} MEDIAN   WORST of ${LOADS}, in ms\n`);
    for (const [path, shown] of PAGES) {
      const times = await load(page, path, shown);
      const [median, worst] = [times[Math.floor(LOADS / 2)] ?? NaN, times.at(-1) ?? NaN];
      const verdict = median <= GOAL_MS ? '' : `  more than ${GOAL_MS}`;
      process.stdout.write(`${path.padEnd(56)} ${String(median).padStart(6)}  ${String(worst).padStart(6)}${verdict}\n`);
    }
  } finally {
    await browser.close();
    await network.stop();
    await network.remove();
  }
}

/** Loads the page from the server again and again. Returns the times in ascending order. */
async function load(from: Page, path: string, shown: string): Promise<number[]> {
  const context = from.context();
  const session = await from.evaluate<string>(`JSON.stringify({ ...sessionStorage })`);
  const times: number[] = [];
  for (let count = 0; count < LOADS; count++) {
    const page = await context.newPage();
    await page.addInitScript(`Object.assign(sessionStorage, ${session}); ${NOTE_TIME(shown)}`);
    await page.goto(new URL(path, from.url()).href);
    times.push(Math.round(await page.evaluate<number>(SHOWN_AT)));
    await page.close();
  }
  return times.toSorted((a, b) => a - b);
}

await main(
  withExamples(
    program('console-load', 'measures how soon the console shows nodes', new URL('../package.json', import.meta.url)),
    'npx -y pnpm@12 console:load',
    'npx -y pnpm@12 console:load --nodes 50000',
  )
    .option('--nodes <count>', 'nodes of the registry', Number, 1_000_000)
    .action(measure),
);
