// What axe finds wrong with each page of the console, in each of its looks, and whether a page
// scrolls sideways.

import { describe, expect, it } from 'vitest';
import { CHROMIUM, faultsOf, id, STANDARDS, TIMEOUT_MS, visit } from './browser.js';
import { JOINED, UNPROVEN } from './plant.js';

/** Playwright's own: a page is as wide unless a test says otherwise. */
const WIDE = { width: 1280, height: 720 };
const ZOOMED = { width: 640, height: 512 };
const NARROW = { width: 320, height: 640 };
/** The rules that colours decide: a page in dark has been checked by all rules in light. */
const OF_COLOURS: readonly string[] = ['color-contrast'];
/** Those that a width decides: here that of a window of 1280 px at 200 %. */
const OF_ZOOM: readonly string[] = ['target-size'];
const OF_WIDTH: readonly string[] = ['target-size', 'scrollable-region-focusable'];

describe.skipIf(CHROMIUM === undefined)('each page of the console (needs chromium)', { timeout: 6 * TIMEOUT_MS }, () => {
  it('has no fault that axe finds, and no sideways scroll, in light, in dark and on 320 px', async () => {
    const { page, site, messages } = await visit('/');
    let path = '/';
    const open = async (to: string, ready: string): Promise<void> => {
      path = to;
      await page.goto(site.origin + path);
      await page.locator(ready).first().waitFor();
    };
    /** By a link, as most people come to a page: what is loaded stays, and axe with it. */
    const turnTo = async (to: string, ready: string): Promise<void> => {
      path = to;
      await page.evaluate(`
        document.querySelector('main h1').dataset.left = '';
        const link = document.querySelector('nav a').cloneNode();
        link.href = ${JSON.stringify(path)};
        document.querySelector('nav').append(link);
        link.click();
        link.remove();`);
      // The page before is no longer there.
      await page.locator('main h1:not([data-left])').waitFor();
      await page.locator(ready).first().waitFor();
    };
    // A page is loaded once for all looks that the style sheet alone makes: most time is loading.
    const check = async (look: string, rules: readonly string[]): Promise<void> => {
      expect([path, look, await faultsOf(page, rules)]).toEqual([path, look, []]);
      const excess = await page.evaluate('document.documentElement.scrollWidth - innerWidth');
      expect([path, look, excess]).toEqual([path, look, 0]);
    };
    const checkLight = (): Promise<void> => check('light', STANDARDS);
    const checkDark = async (): Promise<void> => {
      await page.emulateMedia({ colorScheme: 'dark' });
      await check('dark', OF_COLOURS);
    };
    const checkZoomed = async (): Promise<void> => {
      await page.setViewportSize(ZOOMED);
      await check('200 %', OF_ZOOM);
    };
    const checkNarrow = async (): Promise<void> => {
      await page.setViewportSize(NARROW);
      await check('320 px', OF_WIDTH);
    };
    /** As a page is first seen. */
    const reset = async (): Promise<void> => {
      await page.emulateMedia({ colorScheme: 'light' });
      await page.setViewportSize(WIDE);
    };
    const help = (): Promise<void> => page.keyboard.press('?');
    const endHelp = async (): Promise<void> => {
      await page.keyboard.press('Escape');
      await page.getByRole('dialog', { name: 'Keyboard' }).waitFor({ state: 'detached' });
    };
    const menu = (): Promise<void> => page.getByRole('button', { name: 'Preferences' }).click();

    await page.locator('.entries').waitFor();
    await checkLight();
    await help();
    await checkDark();
    await endHelp();
    await checkZoomed();
    await page.setViewportSize(NARROW);
    await menu();
    await checkNarrow();

    await reset();
    await open(`/nodes?node=${id(JOINED)}`, '.drawer .entries');
    await menu();
    await checkLight();
    await open(`/nodes?node=${id(UNPROVEN)}`, '.drawer .entries');
    await menu();
    await checkDark();
    // Its drawer fills a narrow screen if it is opened there.
    await page.setViewportSize(NARROW);
    await open(`/nodes?node=${id(UNPROVEN)}`, '.drawer .entries');
    await checkNarrow();

    await reset();
    await open('/audit', '.head');
    await help();
    await checkLight();
    await endHelp();
    await checkDark();
    await checkNarrow();

    await reset();
    await turnTo('/nodes?starts=ff', '.empty');
    await checkLight();
    await turnTo('/orders?open=3', '.drawer .facts');
    await checkLight();
    await checkDark();

    await page.setViewportSize(NARROW);
    await turnTo('/orders/3', '.note details');
    await checkNarrow();
    await reset();
    await page.locator('.sites').waitFor();
    await page.getByText('What to do').first().click();
    await checkLight();
    expect(await page.locator('main [data-cause]').allInnerTexts()).toEqual([
      'No controller ever asked for it · 1 node',
      'It was answered, and proved nothing · 1 node',
    ]);
    const sites = await page.locator('.sites li').allInnerTexts();
    expect(sites.map((text) => text.replaceAll(/\s+/g, ' '))).toEqual([
      'without a site 19 of 19 joined',
      'Plant 2 0 of 2 joined',
    ]);

    await turnTo('/orders/new', 'select[required]');
    await checkLight();
    await checkDark();
    await checkNarrow();

    await turnTo('/orders', 'tbody tr');
    await checkNarrow();
    await reset();
    await turnTo('/controllers?open=00000001', '.drawer .facts');
    await checkLight();
    await checkDark();

    await reset();
    await turnTo('/nodes?order=1&order=2', 'tbody tr');
    await page.getByLabel('Choose all nodes of this page').check();
    await page.getByRole('button', { name: 'Lifetime…' }).click();
    await checkLight();
    await checkDark();

    await reset();
    await turnTo('/exposure', 'tbody tr');
    await checkLight();
    await checkDark();
    await checkNarrow();

    await reset();
    await turnTo('/calendar', 'tbody tr');
    await page.getByLabel('Order', { exact: true }).fill('Kim');
    await page.keyboard.press('Enter');
    await page.locator('.field-error').waitFor();
    await page
      .getByRole('row', { name: /expired earlier 2/ })
      .getByRole('button')
      .click();
    await page.locator('.sites').waitFor();
    await checkLight();
    await page.setViewportSize(NARROW);
    await open('/calendar?by=week', 'tbody tr');
    await page
      .getByRole('row', { name: /week from/ })
      .last()
      .getByRole('button')
      .click();
    await page.locator('.sites').waitFor();
    await checkNarrow();

    await reset();
    await turnTo('/jobs', '.empty');
    await checkLight();
    await checkNarrow();

    await reset();
    await turnTo('/waiting', 'tbody tr');
    await checkLight();
    await checkDark();
    await checkNarrow();

    await reset();
    await turnTo('/users', 'tbody tr');
    await checkLight();
    await checkDark();
    await checkZoomed();
    await checkNarrow();

    await turnTo('/tokens', 'fieldset');
    await checkNarrow();
    await reset();
    await page.getByText('Limit it to some orders').click();
    await checkLight();

    await turnTo('/account', 'tbody tr');
    await checkLight();
    await checkNarrow();

    await turnTo('/controllers', 'tbody tr');
    await checkNarrow();
    await page.emulateMedia({ colorScheme: 'dark' });
    await turnTo('/nodes', 'tbody tr');
    await checkZoomed();
    await checkNarrow();
    // Colours of the reader's own: what only colours say must be there in another way.
    await page.emulateMedia({ forcedColors: 'active' });
    await check('forced colours', OF_WIDTH);
    const outlineOf = (selector: string): Promise<unknown> =>
      page.evaluate(`getComputedStyle(document.querySelector('${selector}')).outlineStyle`);
    await page.locator('.states label').first().click();
    await expect.poll(() => outlineOf('.states label:has(:checked)')).toBe('solid');
    await page.emulateMedia({ forcedColors: 'none' });

    const checkSignedOut = (): Promise<void> => check('signed out, dark, 320 px', STANDARDS);
    site.endSessions();
    await open('/audit', '.modal');
    await checkSignedOut();
    await page.getByRole('button', { name: 'another user' }).click();
    await open('/', '.sign-in-page');
    await checkSignedOut();
    await open('/sign-in#link=used', '.sign-in-page');
    await checkSignedOut();
    expect(messages).toEqual([]);
  });
});
