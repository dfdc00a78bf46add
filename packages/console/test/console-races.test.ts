// The console while something else happens: an answer is late, somebody else is faster, a server is
// restarted, a row goes away under the focus. In Chromium before the real API.

import type { Page, Request, Route } from 'playwright-core';
import { describe, expect, it } from 'vitest';
import { removeNodes, setDisabled, setOrderState } from '@latchkey/operations';
import { newSecret } from '@latchkey/test-support/admin-fixture';
import { CHROMIUM, faultsOf, focused, id, PASSWORD, queryOf, signInAgain, STANDARDS, TIMEOUT_MS, visit } from './browser.js';
import { describeNode, JOINED, SECOND, SECOND_ORDER, SILENT, UNKNOWN, UNPROVEN } from './plant.js';

/** Holds back answers until they are let go. */
class Held {
  readonly #page: Page;
  readonly #requests: RegExp;
  readonly #routes: Route[] = [];

  private constructor(page: Page, requests: RegExp) {
    this.#page = page;
    this.#requests = requests;
  }

  static async open(page: Page, requests: RegExp): Promise<Held> {
    const held = new Held(page, requests);
    await page.route(requests, (route) => void held.#routes.push(route));
    return held;
  }

  get count(): number {
    return this.#routes.length;
  }

  async release(): Promise<void> {
    for (const route of this.#routes) await route.continue();
    await this.#page.unroute(this.#requests);
  }
}

/** Runs all steps, and says which of them failed. */
class Steps {
  readonly #page: Page;
  readonly failed: string[] = [];

  constructor(page: Page) {
    this.#page = page;
  }

  async take(name: string, step: () => Promise<void>): Promise<void> {
    try {
      await step();
    } catch (error) {
      this.failed.push(`${name}: ${String(error).split('\n').slice(0, 4).join(' ')}`);
      await this.#page.unrouteAll({ behavior: 'ignoreErrors' });
    }
  }
}

/** An answer of the API that is no answer of this test's. */
function unavailable(detail: string): { status: number; contentType: string; body: string } {
  const problem = { type: 'urn:latchkey:problem:unavailable', title: 'The registry does not answer', status: 503, detail };
  return { status: 503, contentType: 'application/problem+json', body: JSON.stringify(problem) };
}

describe.skipIf(CHROMIUM === undefined)('the console (needs chromium)', { timeout: 6 * TIMEOUT_MS }, () => {
  it('names what it shows by what was asked for it, while another list is loaded', async () => {
    const { page, site, messages } = await visit('/');
    const steps = new Steps(page);
    const rows = page.locator('tbody tr');
    const next = page.getByRole('link', { name: 'Next' });
    const open = (path: string): Promise<unknown> => page.goto(site.origin + path);

    await steps.take('Next, pressed twice, leads to the next page', async () => {
      await open('/nodes?order=4');
      await page.getByText(`1 to 100 of ${SECOND_ORDER}`).waitFor();
      const held = await Held.open(page, /v1\/nodes\?.*after=/);
      await next.click();
      await page.locator('[aria-busy=true]').waitFor();
      expect(await page.locator('.pager').innerText()).toContain(`1 to 100 of ${SECOND_ORDER}`);
      await next.click();
      await held.release();
      await page.getByText(`101 to 200 of ${SECOND_ORDER}`).waitFor();
      await page.goBack();
      await page.getByText(`1 to 100 of ${SECOND_ORDER}`).waitFor();
    });
    await steps.take('an empty list under filters is not called an empty registry', async () => {
      await open('/nodes?starts=ff');
      await page.getByText('No node passes these filters').waitFor();
      const held = await Held.open(page, /v1\/nodes\?/);
      await page.getByRole('link', { name: 'Clear filters' }).first().click();
      await expect.poll(() => held.count).toBe(1);
      expect(await page.getByText('No nodes yet').count()).toBe(0);
      await held.release();
      await rows.first().waitFor();
    });
    await steps.take('nodes of the former filters cannot be chosen', async () => {
      await open('/nodes?order=4');
      await rows.first().waitFor();
      const held = await Held.open(page, /v1\/nodes\?.*order=3/);
      await page.getByLabel('Order', { exact: true }).fill('3');
      await page.keyboard.press('Enter');
      await page.locator('[aria-busy=true]').waitFor();
      await page.getByLabel(`Choose node ${id(SECOND)}`).click({ force: true, noWaitAfter: true });
      await held.release();
      await page.getByRole('link', { name: id(JOINED) }).waitFor();
      expect(await page.getByText('1 node is chosen').count()).toBe(0);
    });
    await steps.take('a cursor of before a restart begins every list again', async () => {
      for (const [path, count] of [
        ['/orders', 4],
        ['/controllers', 2],
      ] as const) {
        await open(`${path}?after=AAAA&from=101`);
        await page.getByText(`1 to ${count} of ${count}`).waitFor();
        expect(queryOf(page)).toBe('');
      }
    });
    await steps.take('a filter keeps the focus when it is set', async () => {
      await open('/nodes');
      await rows.first().waitFor();
      await page.getByLabel('disabled').focus();
      await page.keyboard.press('Space');
      await expect.poll(() => rows.count()).toBe(2);
      await expect.poll(() => focused(page)).toContain('checkbox "disabled"');
      await page.getByLabel('Site', { exact: true }).focus();
      await page.keyboard.type('Nowhere');
      await page.keyboard.press('Enter');
      await page.getByText('No node passes these filters').waitFor();
      await expect.poll(() => focused(page)).toContain('textbox "Site"');
      await page.goBack();
      await expect.poll(() => page.getByLabel('Site', { exact: true }).inputValue()).toBe('');
      await open('/audit');
      await page.getByLabel('By', { exact: true }).focus();
      await page.keyboard.type('user ada');
      await page.keyboard.press('Enter');
      await expect.poll(() => queryOf(page)).toBe('?actor=user+ada');
      await expect.poll(() => focused(page)).toContain('textbox "By"');
    });
    await steps.take('a filter that is not valid is not dropped without a word', async () => {
      await open('/nodes');
      await page.getByLabel('Order', { exact: true }).fill('Kim');
      await page.keyboard.press('Enter');
      await expect.poll(() => page.getByLabel('Order', { exact: true }).getAttribute('aria-invalid')).toBe('true');
      await page.getByText('Expected numbers of orders').waitFor();
      await page.getByLabel('Order', { exact: true }).fill('4');
      await page.getByLabel('Controller').fill('zz');
      await page.keyboard.press('Enter');
      await page.getByText('Expected IDs of controllers').waitFor();
      expect(queryOf(page)).toBe('');
      await open('/audit');
      await page.getByLabel('Node', { exact: true }).fill('pump');
      await page.keyboard.press('Enter');
      await page.getByText('Expected the 8 hex digits').waitFor();
      await page.getByLabel('Node', { exact: true }).fill('00:05:21:4E');
      await page.keyboard.press('Enter');
      await expect.poll(() => queryOf(page)).toBe(`?about=${id(UNPROVEN)}`);
    });
    await steps.take('the kind of entry in the URL is the one that is chosen', async () => {
      for (const what of ['node described', 'sign-in link made', 'of later']) {
        await open(`/audit?what=${encodeURIComponent(what)}`);
        await expect.poll(() => page.getByLabel('What').inputValue()).toBe(what);
      }
    });
    await steps.take('a name of hex digits with a blank is a name', async () => {
      await page.getByRole('searchbox').fill('Cafe 3');
      await page.keyboard.press('Enter');
      await expect.poll(() => queryOf(page)).toBe('?q=Cafe+3');
    });
    await steps.take('the calendar is filtered by order on its page, and its links count the same nodes', async () => {
      await open('/calendar?state=disabled');
      await rows.first().waitFor();
      await page.getByLabel('Order', { exact: true }).fill('2');
      await page.keyboard.press('Enter');
      await expect.poll(() => queryOf(page)).toBe('?order=2');
      await expect.poll(() => rows.count()).toBe(1);
      await rows.getByRole('link').click();
      await expect.poll(() => rows.count()).toBe(3);
      expect(queryOf(page)).toMatch(/^\?order=2&expires_/);
    });
    expect(steps.failed).toEqual([]);
    expect(messages).toEqual([]);
  });

  it('keeps the focus on the page, and changes what it showed and nothing else', async () => {
    const { page, site, fixture, messages } = await visit('/');
    const { registry } = fixture;
    const steps = new Steps(page);
    const open = (path: string): Promise<unknown> => page.goto(site.origin + path);
    const hasFocus = (): Promise<boolean> => page.evaluate('document.activeElement !== document.body');
    const keysOf = async (nodes: readonly number[]): Promise<string[]> => {
      await registry.refresh();
      return (await registry.nodesById(nodes)).map(({ ik }) => ik.fingerprint);
    };

    await steps.take('a button that was pressed has the focus afterwards', async () => {
      await open('/controllers');
      await page.locator('tbody tr').first().waitFor();
      const held = await Held.open(page, /v1\/controllers/);
      await page.getByRole('button', { name: 'Reload' }).focus();
      await page.keyboard.press('Enter');
      await page.locator('[aria-busy=true]').waitFor();
      // Chromium takes the focus from a button that is disabled when it paints next.
      await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done)))');
      await expect.poll(() => focused(page)).toContain('button "Reload"');
      await held.release();
      await open(`/nodes?node=${id(SILENT)}`);
      await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).focus();
      await page.keyboard.press('Enter');
      await page.getByRole('dialog').getByRole('button', { name: 'Enable' }).first().waitFor();
      await expect.poll(() => focused(page)).toContain('button "Enable"');
      const key = page.getByLabel('Key in the device');
      await key.fill('abcd');
      await page.keyboard.press('Enter');
      await page.locator('[data-cause]').waitFor();
      expect(await key.inputValue()).toBe('abcd');
      await page.getByRole('button', { name: 'Undo' }).focus();
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Undo' }).waitFor({ state: 'detached' });
      await expect.poll(hasFocus).toBe(true);
    });
    await steps.take('a row that goes away leaves the focus on the page', async () => {
      await open('/waiting');
      await page
        .getByRole('row', { name: id(UNKNOWN) })
        .getByRole('button', { name: 'Dismiss' })
        .focus();
      await page.keyboard.press('Enter');
      await page.getByRole('heading', { name: 'Nobody waits' }).waitFor();
      await expect.poll(hasFocus).toBe(true);
      await expect.poll(() => focused(page)).toContain('heading "Waiting"');
    });
    await steps.take('a change of many leaves the focus on the page', async () => {
      await open('/nodes?order=4');
      await page.getByLabel(`Choose node ${id(SECOND)}`).check();
      await page.getByRole('button', { name: 'Tag…' }).click();
      await page.keyboard.press('Tab');
      await page.getByRole('dialog').getByRole('textbox').focus();
      await page.keyboard.type('spare');
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Change 1 node' }).waitFor();
      await expect.poll(hasFocus).toBe(true);
      await page.getByRole('button', { name: 'Change 1 node' }).press('Enter');
      await page.getByText('1 node is changed.').waitFor();
      await expect.poll(hasFocus).toBe(true);
    });
    await steps.take('an order that somebody else has changed is closed at the second try', async () => {
      await open('/orders?open=4');
      const confirmation = page.getByRole('dialog', { name: 'Close order 4 for good?' });
      await page.getByRole('button', { name: 'Close…' }).click();
      await setOrderState(registry, 4, 'suspended');
      await confirmation.getByLabel('Type 4 to confirm').fill('4');
      await page.keyboard.press('Enter');
      await confirmation.getByText('Somebody has changed it in the meantime').waitFor();
      await confirmation.getByRole('button', { name: 'Cancel' }).click();
      await page.getByRole('button', { name: 'Resume' }).waitFor();
      await page.getByRole('button', { name: 'Close…' }).click();
      expect(await confirmation.getByRole('alert').count()).toBe(0);
      await confirmation.getByLabel('Type 4 to confirm').fill('4');
      await page.keyboard.press('Enter');
      await page.getByText('Order 4 is closed.').waitFor();
    });
    await steps.take('a link to set a password is made once', async () => {
      await site.addUser('bo', 'viewer');
      await open('/users');
      const held = await Held.open(page, /v1\/users\/bo\/link/);
      await page.getByRole('button', { name: 'New link' }).click();
      await page.getByRole('button', { name: 'New link' }).click({ force: true });
      await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done)))');
      expect(held.count).toBe(1);
      await held.release();
      await page.getByRole('dialog', { name: 'Link for bo' }).waitFor();
      await page.keyboard.press('Escape');
    });
    await steps.take('nothing of a node is shown that is no longer there', async () => {
      await open(`/nodes?node=${id(SECOND + 0x1f3)}`);
      const drawer = page.getByRole('dialog');
      await drawer.getByRole('button', { name: 'Disable' }).waitFor();
      await removeNodes(registry, [SECOND + 0x1f3]);
      await page.getByRole('button', { name: 'Reload' }).press('r');
      await drawer.locator('[data-cause="unknown"]').waitFor();
      await drawer.getByRole('button', { name: 'Disable' }).waitFor({ state: 'detached' });
    });
    await steps.take('an undo can be reached beside a drawer that fills the screen', async () => {
      await page.setViewportSize({ width: 320, height: 640 });
      await open(`/nodes?node=${id(SILENT)}`);
      await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
      await page.getByText(`Node ${id(SILENT)} is disabled.`).waitFor();
      await page.getByRole('button', { name: 'Undo' }).click();
      await page.locator('[data-cause="never-asked"]').waitFor();
      await page.setViewportSize({ width: 1280, height: 720 });
    });
    await steps.take('filters that another tab saves are kept, and people share them', async () => {
      await open('/nodes?order=4');
      const opened = page.context().waitForEvent('page');
      await page.evaluate(`void open('/nodes?order=3')`);
      const tab = await opened;
      const save = async (one: Page, name: string): Promise<void> => {
        await one.getByLabel('Name of these filters').fill(name);
        await one.keyboard.press('Enter');
        await one.getByRole('button', { name: `Forget ${name}` }).waitFor();
      };
      await save(page, 'fourth');
      await save(tab, 'third');
      await tab.close();
      const cy = await site.redeemLink(await site.addUser('cy', 'viewer'), PASSWORD);
      await site.ask(cy, '/v1/filters', { name: 'fourth', query: 'order=4&order=2', is_shared: true });
      await page.reload();
      await page.getByRole('button', { name: 'Share fourth' }).click();
      await page.getByText('Everybody who sees all orders sees fourth now').waitFor();
      const saved = page.getByLabel('Saved filters');
      await saved.locator('option', { hasText: 'third' }).waitFor({ state: 'attached' });
      await saved.locator('option', { hasText: 'fourth (shared)' }).waitFor({ state: 'attached' });
      expect((await saved.locator('option').allInnerTexts()).slice(1)).toEqual(['fourth (shared)', 'third', 'fourth (cy)']);
      expect(await site.ask(cy, '/v1/filters')).toMatchObject({
        items: [
          { name: 'fourth', user: 'cy' },
          { name: 'fourth', user: 'ada', is_own: false },
        ],
      });
      await saved.selectOption('fourth (cy)');
      await expect.poll(() => queryOf(page)).toBe('?order=4&order=2');
    });
    await steps.take('an order of which the server does not say whether it was made is not made twice', async () => {
      await open('/orders/new');
      await page.getByLabel('Installer', { exact: true }).fill('Kim & Sons');
      await page.getByLabel('Controller').selectOption('00000001');
      await page.getByLabel('Nodes', { exact: true }).fill('1');
      const sent: Request[] = [];
      page.on('request', (request) => {
        if (request.method() === 'POST' && request.url().endsWith('/v1/orders')) sent.push(request);
      });
      const submit = page.getByRole('button', { name: 'Order 1 node' });
      // No answer says that it was not made, and the person asks for something else.
      const orders = /\/v1\/orders$/;
      await page.route(orders, (route) => route.fulfill(unavailable('It is being restarted')));
      await submit.click();
      await page.getByText('It is being restarted').waitFor();
      await page.unroute(orders);
      await page.getByLabel('Site of the nodes').fill('north');
      await submit.click();
      await page.getByText('It is not known whether this was done').waitFor();
      expect(sent.length).toBe(1);
      await page.getByRole('button', { name: 'It was not done' }).click();

      const jobs = /\/v1\/jobs\/[^/]+$/;
      await page.route(jobs, (route) => route.fulfill({ json: { state: 'interrupted', problem: null } }));
      await submit.click();
      await page.getByText('The server stopped before it said').waitFor();
      await submit.press('Enter');
      await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done)))');
      expect(sent.length).toBe(2);
      await page.unroute(jobs);
      await page.getByRole('button', { name: 'It was not done' }).click();
      await submit.click();
      await page.getByRole('heading', { name: 'Order 6: 1 node' }).waitFor();
      expect(new Set(sent.map((request) => request.headers()['idempotency-key'])).size).toBe(3);
    });
    await steps.take('nodes that share an initial key get one each, and an import is suspended', async () => {
      const shared = newSecret();
      const [one, other] = [0x00610001, 0x00610002];
      const order = await fixture.order({ [one]: shared, [other]: shared }, { kind: 'import', sharedKey: true });
      await open('/exposure');
      await page.getByRole('link', { name: `Reset those of order ${order} that hold it` }).click();
      await page.getByText('2 nodes hold it:').waitFor();
      const before = new Set(await keysOf([one, other]));
      const [key = ''] = before;
      expect(await faultsOf(page, STANDARDS)).toEqual([]);
      expect(await page.getByRole('link', { name: id(other) }).count()).toBe(1);
      await page.getByLabel(`Type ${key} to confirm`).fill(key);
      await page.getByRole('button', { name: 'Reset these nodes' }).click();
      await page.getByRole('button', { name: 'Print 2 labels' }).waitFor();
      expect(new Set([...before, ...(await keysOf([one, other]))]).size).toBe(3);
      await open(`/orders/${order}`);
      await page.getByRole('button', { name: 'Suspend' }).click();
      await page.getByText(`Order ${order} is suspended.`).waitFor();
      await registry.refresh();
      expect(await registry.order(order)).toMatchObject({ kind: 'import', state: 'suspended' });
    });
    await steps.take('what one person did, the next does not undo', async () => {
      await open(`/nodes?node=${id(UNPROVEN)}`);
      await page.getByRole('dialog').getByRole('button', { name: 'Disable' }).click();
      await page.getByRole('button', { name: 'Undo' }).waitFor();
      await page.keyboard.press('Escape');
      await page.getByRole('button', { name: 'Preferences' }).click();
      await page.getByRole('button', { name: 'Sign out' }).click();
      await page.getByLabel('User').fill('ada');
      await page.getByLabel('Password').fill(PASSWORD);
      await page.keyboard.press('Enter');
      await page.getByRole('button', { name: 'Preferences' }).waitFor();
      expect(await page.getByRole('button', { name: 'Undo' }).count()).toBe(0);
    });
    await steps.take('Escape does not take the sign-in away', async () => {
      await open('/audit');
      await page.locator('tbody tr').first().waitFor();
      site.endSessions();
      await page.getByRole('button', { name: 'Reload' }).click();
      const signIn = page.getByRole('dialog', { name: 'Sign in' });
      await signIn.waitFor();
      for (let count = 0; count < 3; count++) await page.keyboard.press('Escape');
      await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done)))');
      await signInAgain(page);
    });
    expect(steps.failed).toEqual([]);
    expect(messages).toEqual([]);
  });

  it('follows what happens while time passes, answers are lost and servers are restarted', async () => {
    const { page, site, fixture, messages } = await visit('/');
    const { registry } = fixture;
    const steps = new Steps(page);
    const open = (path: string): Promise<unknown> => page.goto(site.origin + path);
    const streams: Request[] = [];
    page.on('request', (request) => void (request.url().endsWith('/v1/events') && streams.push(request)));
    // The page's clock: it goes on by itself, and can be moved on.
    await page.clock.install();

    await steps.take('a list says of controllers what was so when it was loaded', async () => {
      await open('/controllers');
      const row = page.getByRole('row', { name: /^00000001/ });
      await row.getByText('well').waitFor();
      await page.clock.fastForward('00:20:00');
      await row.click();
      await page.getByRole('dialog').locator('[data-health]').waitFor();
      expect(await row.locator('.badge').innerText()).toBe('well');
      expect(await page.locator('[data-health]').getAttribute('data-health')).toBe('well');
    });
    await steps.take('a stream that nothing comes from is opened again', async () => {
      await open('/');
      await page.getByText('Live', { exact: true }).waitFor();
      const before = streams.length;
      await page.clock.fastForward('00:01:00');
      await expect.poll(async () => (await page.clock.fastForward('00:00:10'), streams.length)).toBeGreaterThan(before);
      await page.getByText('Live', { exact: true }).waitFor();
    });
    await steps.take('what happened during a pause is there after it, and counts follow', async () => {
      const disabled = page.locator('.tile.state-disabled strong');
      expect(await disabled.innerText()).toBe('2');
      await page.getByRole('button', { name: 'Pause' }).click();
      await setDisabled(registry, [SECOND], true);
      await page.getByRole('button', { name: 'Pause' }).click();
      await page
        .locator('.entries')
        .getByRole('link', { name: id(SECOND) })
        .waitFor();
      await setDisabled(registry, [SECOND + 0x1f3], true);
      await page
        .locator('.entries')
        .getByRole('link', { name: id(SECOND + 0x1f3) })
        .waitFor();
      await page.clock.fastForward('00:01:00');
      await expect.poll(() => disabled.innerText()).toBe('4');
    });
    await steps.take('a tab that nobody sees keeps no connection, and shows what happened once it is seen', async () => {
      const become = (state: string): Promise<unknown> =>
        page.evaluate(`
          Object.defineProperty(document, 'visibilityState', { configurable: true, value: '${state}' });
          document.dispatchEvent(new Event('visibilitychange'));`);
      const live = page.getByText('Live', { exact: true });
      await live.waitFor();
      await become('hidden');
      await live.waitFor({ state: 'detached' });
      const before = streams.length;
      await page.clock.fastForward('00:00:10');
      await setDisabled(registry, [SECOND + 2 * 0x1f3], true);
      await become('visible');
      await page
        .locator('.entries')
        .getByRole('link', { name: id(SECOND + 2 * 0x1f3) })
        .waitFor();
      await live.waitFor();
      expect(streams.length).toBe(before + 1);
    });
    await steps.take('a slow answer is awaited, not asked for again and again', async () => {
      const lost: string[] = [];
      page.on('requestfailed', (request) => lost.push(request.url()));
      const held = await Held.open(page, /v1\/diagnoses/);
      await open(`/install?id=${id(UNPROVEN)}`);
      await expect.poll(() => held.count).toBe(1);
      await page.getByLabel('Name', { exact: true }).waitFor();
      lost.length = 0;
      await page.clock.fastForward('00:00:05');
      await page.clock.fastForward('00:00:05');
      await held.release();
      await page.locator('[data-cause="proof-missing"]').waitFor();
      expect(lost.filter((url) => url.includes('/v1/diagnoses'))).toEqual([]);
    });
    await steps.take('a name is stored without a place that somebody else has stored since', async () => {
      await page.getByLabel('Name', { exact: true }).fill('Pump 9');
      await describeNode(fixture, UNPROVEN, { location: 'pillar 99' });
      await page.getByRole('button', { name: 'Save' }).click();
      await page.getByText('Somebody has changed it in the meantime').waitFor();
      await page.getByText('Stored now: Pump 3 <north>, pillar 99').waitFor();
      await page.getByRole('button', { name: 'Save' }).click();
      await page.getByText(`Node ${id(UNPROVEN)} is described.`).waitFor();
      await registry.refresh();
      expect(await registry.nodeDescription(UNPROVEN)).toMatchObject({ name: 'Pump 9', location: 'pillar 99' });
    });
    await steps.take('the drawer says why the life of a node is not there', async () => {
      await page.route(/\/life$/, (route) => route.fulfill(unavailable('another process holds the registry')));
      await open(`/nodes?node=${id(JOINED)}`);
      await page.getByRole('dialog').getByText('another process holds the registry').waitFor();
      await page.unrouteAll();
      await page.getByRole('dialog').getByRole('button', { name: 'Try again' }).click();
      await page.getByRole('dialog').locator('.entries').waitFor();
    });
    await steps.take('jobs are followed after an answer that was lost, with the advice of those that failed', async () => {
      const problem = {
        type: 'urn:latchkey:problem:refused',
        title: 'Refused',
        detail: 'controller 00000009 was removed',
        advice: 'Choose another controller.',
      };
      const job = {
        id: 'j1',
        kind: 'nodes.change-many',
        state: 'running',
        done: 4_096,
        total: 10_000,
        created_at: new Date().toISOString(),
        finished_at: null,
        result: null,
        problem: null as object | null,
      };
      const answers = [{ json: { items: [job] } }, unavailable('restarted'), { json: { items: [job] } }];
      await page.route(/v1\/jobs$/, (route) =>
        route.fulfill(answers.shift() ?? { json: { items: [{ ...job, state: 'failed', problem }] } }),
      );
      await open('/jobs');
      await page.getByText('4,096 of 10,000').waitFor();
      await expect
        .poll(async () => (await page.clock.fastForward('00:00:02'), page.getByText('failed', { exact: true }).isVisible()))
        .toBe(true);
      await page.getByText('Choose another controller.').waitFor();
      await page.unrouteAll();
      await open('/nodes?order=4');
      await page.getByLabel(`Choose node ${id(SECOND)}`).check();
      await page.getByRole('button', { name: 'Enable…' }).click();
      const lost = [(route: Route) => route.abort()];
      await page.route(/v1\/jobs\/[^/]+$/, (route) => {
        const lose = lost.shift();
        return lose === undefined ? route.fulfill({ json: { ...job, state: 'failed', problem } }) : lose(route);
      });
      await page.route(/v1\/node-changes$/, async (route) => {
        if (route.request().postData()?.includes('dry_run') === true) return route.continue();
        await route.fulfill({ status: 202, json: job });
      });
      await page.getByRole('button', { name: 'Enable 1 node' }).click();
      await page.getByRole('dialog').getByText('The server cannot be reached').waitFor();
      await page.getByRole('dialog').getByRole('button', { name: 'Try again' }).click();
      await page.getByRole('dialog').getByText('Choose another controller.').waitFor();
    });
    await steps.take('a job that ended while it was about to be stopped is not forgotten', async () => {
      await page.unrouteAll();
      await open('/nodes?order=4');
      await page.getByLabel(`Choose node ${id(SECOND)}`).check();
      await page.getByRole('button', { name: 'Enable…' }).click();
      await page.getByRole('button', { name: 'Enable 1 node' }).click();
      await expect.poll(async () => (await page.clock.fastForward('00:00:02'), page.getByRole('dialog').count())).toBe(0);
      await page.route(/v1\/jobs$/, async (route) => {
        const items = (await (await route.fetch()).json()).items as object[];
        for (const job of items) Object.assign(job, { state: 'running', finished_at: null });
        await route.fulfill({ json: { items } });
      });
      await open('/jobs');
      const stop = page.getByRole('button', { name: 'Stop it' });
      await stop.waitFor();
      await page.unrouteAll();
      await stop.click();
      await page.getByText('has ended already: done').waitFor();
      await open('/jobs');
      await page.getByText('done', { exact: true }).waitFor();
    });
    await steps.take('a page of a console that was upgraded since is loaded with the new one', async () => {
      await open('/');
      await page.locator('.entries').waitFor();
      await page.route(/assets\/later-pages/, (route) => route.fulfill({ status: 404, body: '' }));
      await page.keyboard.press('g');
      await page.keyboard.press('w');
      await page.getByText('another version of the console').waitFor();
      await page.unrouteAll();
      await page.getByRole('button', { name: 'Try again' }).click();
      await page.getByRole('row', { name: id(UNKNOWN) }).waitFor();
    });
    await steps.take('a page says what a role may not do once it knows the role', async () => {
      const held = await Held.open(page, /v1\/me$/);
      await open('/orders/new');
      await page.getByRole('heading', { name: 'New order' }).waitFor();
      await expect.poll(() => held.count).toBe(1);
      await page.evaluate('new Promise((done) => requestAnimationFrame(() => setTimeout(done)))');
      expect(await page.getByText('Your role does not allow this').count()).toBe(0);
      await held.release();
      await page.getByLabel('Installer', { exact: true }).waitFor();
    });
    expect(steps.failed).toEqual([]);
    expect(messages.filter((text) => !/ERR_FAILED|409/.test(text))).toEqual([]);
  });
});
