// What axe finds wrong with each page of the console, in each of its looks, and whether a page
// scrolls sideways.

import { describe, expect, it } from 'vitest';
import { CHROMIUM, faultsOf, id, STANDARDS, TIMEOUT_MS, visit } from './browser.js';
import { JOINED, UNPROVEN } from './plant.js';

describe.skipIf(CHROMIUM === undefined)('each page of the console (needs chromium)', { timeout: 6 * TIMEOUT_MS }, () => {
  it('has no fault that axe finds, and no sideways scroll, in light, in dark and on 320 px', async () => {
    const { page, site, messages } = await visit('/');
    /** All rules, or those that the colours or the width decide. */
    let rules: object = { runOnly: STANDARDS };
    const check = async (path: string, ready: string, more?: () => Promise<void>): Promise<void> => {
      await page.goto(site.origin + path);
      await page.locator(ready).first().waitFor();
      await more?.();
      expect([path, await faultsOf(page, rules)]).toEqual([path, []]);
      expect([path, await page.evaluate('document.documentElement.scrollWidth - innerWidth')]).toEqual([path, 0]);
    };
    const help = (): Promise<void> => page.keyboard.press('?');
    const menu = (): Promise<void> => page.getByRole('button', { name: 'Preferences' }).click();
    await check('/', '.entries');
    await check(`/nodes?node=${id(JOINED)}`, '.drawer .entries', menu);
    await check('/audit', '.head', help);
    await check('/nodes?starts=ff', '.empty');
    await check('/orders?open=3', '.drawer .facts');
    await check('/orders/3', '.note details', async () => {
      await page.locator('.sites').waitFor();
      await page.getByText('What to do').first().click();
    });
    expect(await page.locator('main [data-cause]').allInnerTexts()).toEqual([
      'No controller ever asked for it · 1 node',
      'It was answered, and proved nothing · 1 node',
    ]);
    const sites = await page.locator('.sites li').allInnerTexts();
    expect(sites.map((text) => text.replaceAll(/\s+/g, ' '))).toEqual([
      'without a site 19 of 19 joined',
      'Plant 2 0 of 2 joined',
    ]);
    await check('/orders/new', 'select[required]');
    await check('/controllers?open=00000001', '.drawer .facts');
    const choose = async (): Promise<void> => {
      await page.getByLabel('Choose all nodes of this page').check();
      await page.getByRole('button', { name: 'Lifetime…' }).click();
    };
    await check('/nodes?order=1&order=2', 'tbody tr', choose);
    await check('/exposure', 'tbody tr');
    await check('/calendar', 'tbody tr', async () => {
      await page.getByLabel('Order', { exact: true }).fill('Kim');
      await page.keyboard.press('Enter');
      await page.locator('.field-error').waitFor();
      await page
        .getByRole('row', { name: /expired earlier 2/ })
        .getByRole('button')
        .click();
      await page.locator('.sites').waitFor();
    });
    await check('/jobs', '.empty');
    await check('/waiting', 'tbody tr');
    await check('/users', 'tbody tr');
    await check('/tokens', 'fieldset', () => page.getByText('Limit it to some orders').click());
    await check('/account', 'tbody tr');
    await page.emulateMedia({ colorScheme: 'dark' });
    rules = { runOnly: ['color-contrast'] };
    await check('/', '.entries', help);
    await check(`/nodes?node=${id(UNPROVEN)}`, '.drawer .entries', menu);
    await check('/audit', '.head');
    await check('/orders?open=3', '.drawer .facts');
    await check('/orders/new', 'select[required]');
    await check('/controllers?open=00000001', '.drawer .facts');
    await check('/nodes?order=1&order=2', 'tbody tr', choose);
    await check('/exposure', 'tbody tr');
    await check('/waiting', 'tbody tr');
    await check('/users', 'tbody tr');
    // 200 % of a window of 1280 px.
    await page.setViewportSize({ width: 640, height: 512 });
    rules = { runOnly: ['target-size'] };
    await check('/', '.entries');
    await check('/nodes', 'tbody tr');
    await check('/users', 'tbody tr');
    await page.setViewportSize({ width: 320, height: 640 });
    rules = { runOnly: ['target-size', 'scrollable-region-focusable'] };
    await check('/', '.entries', menu);
    await check('/nodes', 'tbody tr');
    await check(`/nodes?node=${id(UNPROVEN)}`, '.drawer .entries');
    await check('/audit', '.head');
    await check('/orders', 'tbody tr');
    await check('/orders/3', '.note details');
    await check('/orders/new', 'select[required]');
    await check('/controllers', 'tbody tr');
    await check('/exposure', 'tbody tr');
    await check('/jobs', '.empty');
    await check('/waiting', 'tbody tr');
    await check('/users', 'tbody tr');
    await check('/tokens', 'fieldset');
    await check('/calendar?by=week', 'tbody tr', async () => {
      await page
        .getByRole('row', { name: /week from/ })
        .last()
        .getByRole('button')
        .click();
      await page.locator('.sites').waitFor();
    });
    await check('/account', 'tbody tr');
    // Colours of the reader's own: what only colours say must be there in another way.
    await page.emulateMedia({ forcedColors: 'active' });
    await check('/nodes', 'tbody tr');
    const outlineOf = (selector: string): Promise<unknown> =>
      page.evaluate(`getComputedStyle(document.querySelector('${selector}')).outlineStyle`);
    await page.locator('.states label').first().click();
    await expect.poll(() => outlineOf('.states label:has(:checked)')).toBe('solid');
    await page.emulateMedia({ forcedColors: 'none' });
    rules = { runOnly: STANDARDS };
    site.endSessions();
    await check('/audit', '.modal');
    await page.getByRole('button', { name: 'another user' }).click();
    await check('/', '.sign-in-page');
    await check('/sign-in#link=used', '.sign-in-page');
    expect(messages).toEqual([]);
  });
});
