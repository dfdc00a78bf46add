// The controllers of the console in Chromium: which link key each uses, and its texts.

import { type Secret } from '@latchkey/protocol';
import { call, controllersSet, controllersShow, stageControllerKey } from '@latchkey/operations';
import type { ControllerDescriptionChange, ControllerDetails } from '@latchkey/operations/contract';
import { type AdminFixture, C1, newSecret } from '@latchkey/test-support/admin-fixture';
import { describe, expect, it } from 'vitest';
import { CHROMIUM, enter, faultsOf, focused, pressOn, signInAgain, STANDARDS, typeInto, visit } from './browser.js';
import { JOINED } from './plant.js';

const ID = '00000001';

function contextOf({ registry }: AdminFixture): Parameters<typeof controllersShow.run>[0] {
  return { registry, clock: () => ({ wallMs: Date.now(), monotonicMs: Date.now() }), actor: 'user bo' };
}

async function shown(fixture: AdminFixture): Promise<ControllerDetails> {
  await fixture.registry.refresh();
  return call(controllersShow, contextOf(fixture), { id: ID });
}

async function describeController(fixture: AdminFixture, texts: ControllerDescriptionChange): Promise<void> {
  await call(controllersSet, contextOf(fixture), { id: ID, ...texts });
}

describe.skipIf(CHROMIUM === undefined)('a controller in the console (needs chromium)', () => {
  it('shows its link key in use, and what to do while that is still the old one', async () => {
    const { page, fixture, messages } = await visit(`/controllers?open=${ID}`);
    const drawer = page.getByRole('dialog');
    const row = page.getByRole('row', { name: new RegExp(`^${ID}`) });
    const { key } = await shown(fixture);
    await row.getByText('the current one').waitFor();
    await drawer.getByText('the current one').waitFor();
    expect(await drawer.getByText('What to do').count()).toBe(0);

    const staged: Secret = newSecret();
    const { fingerprint } = staged;
    await stageControllerKey(fixture.registry, C1, staged);
    await page.getByRole('button', { name: 'Reload' }).press('r');
    await row.getByText('still the old one').waitFor();
    const use = drawer.locator('.facts div').filter({ hasText: 'Link key used' });
    expect(await use.innerText()).toMatch(new RegExp(`still the old one \\(${key}, .*(?:ago|now)\\)`));
    await drawer.getByText(`Put the credential with SK_cs ${fingerprint} in the place of the old one`).waitFor();
    await drawer.getByText(`latchkey-auth-server controller rotate ${ID} --out ./controller-${ID}.json`).waitFor();
    expect(await faultsOf(page, STANDARDS)).toEqual([]);

    await fixture.testServer((server) => server.request(server.exchange(JOINED, newSecret(), { skCs: staged }), 'm2'));
    await page.getByRole('button', { name: 'Reload' }).press('r');
    await row.getByText(`the current one (${fingerprint}, `).waitFor();
    await drawer.getByText('1 request since').waitFor();
    await drawer.getByText('What to do').waitFor({ state: 'detached' });
    expect(messages).toEqual([]);
  });

  it('gets other texts by keyboard, gets them back, and keeps what was typed beside somebody else', async () => {
    const { page, site, fixture, messages } = await visit('/controllers');
    await page.locator('tbody tr').first().waitFor();
    await pressOn(page, /link "00000001"/, 'Enter');
    const drawer = page.getByRole('dialog');
    await drawer.locator('.facts').waitFor();
    await pressOn(page, /button "Edit/, 'Enter');
    await expect.poll(() => focused(page)).toContain('textbox "Name"');
    await page.keyboard.type('Hall N');
    await typeInto(page, /textbox "Contact/, 'Ada, +49 30 1234');
    await page.keyboard.press('Enter');
    await page.getByText(`Controller ${ID} is changed.`).waitFor();
    await expect.poll(() => focused(page)).toContain('button "Edit…"');
    expect(await shown(fixture)).toMatchObject({ name: 'Hall N', site: null, contact: 'Ada, +49 30 1234' });
    await page.getByRole('row', { name: new RegExp(`^${ID} Hall N`) }).waitFor();
    await page.getByRole('button', { name: 'Undo' }).press('Enter');
    await expect.poll(() => shown(fixture), { timeout: 60_000 }).toMatchObject({ name: null, contact: null });

    // Somebody else writes the same text before it is taken back.
    await drawer.getByRole('button', { name: 'Edit…' }).click();
    await drawer.getByLabel('Site').fill('north');
    await page.keyboard.press('Enter');
    await page.getByRole('button', { name: 'Undo' }).waitFor();
    await describeController(fixture, { site: 'south' });
    await page.getByRole('button', { name: 'Undo' }).click();
    await page.locator('.toast').getByText('Somebody has changed it in the meantime').waitFor();
    await drawer.locator('.facts').getByText('south').waitFor();
    expect((await shown(fixture)).site).toBe('south');

    // And while the form is open.
    await drawer.getByRole('button', { name: 'Edit…' }).click();
    const name = drawer.getByLabel('Name', { exact: true });
    await name.fill('Hall 1');
    await describeController(fixture, { name: 'Hall 2', contact: 'Bo' });
    await page.keyboard.press('Enter');
    const conflict = drawer.locator('form').getByRole('alert');
    await conflict.getByText('Name: “” → “Hall 2”').waitFor();
    expect(await conflict.innerText()).toMatch(/by user bo: controller changed/);
    expect(await faultsOf(page, STANDARDS)).toEqual([]);
    site.endSessions();
    await page.getByRole('button', { name: 'Save what I typed' }).click();
    await signInAgain(page);
    expect(await name.inputValue()).toBe('Hall 1');
    await page.getByRole('button', { name: 'Save what I typed' }).click();
    await expect.poll(() => shown(fixture), { timeout: 60_000 }).toMatchObject({ name: 'Hall 1', site: 'south', contact: 'Bo' });

    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Preferences' }).click();
    await page.getByLabel('Language').selectOption('de');
    await page.keyboard.press('Escape');
    await page.goto(`${site.origin}/controllers?open=${ID}`);
    await drawer.getByRole('button', { name: 'Bearbeiten…' }).click();
    await page.getByRole('form', { name: `Was über Controller ${ID} bekannt ist` }).waitFor();
    await drawer.getByText('Benutzter Schlüssel').waitFor();
    expect(messages).toEqual([]);
  });

  it('is not changed by a role that may only read', async () => {
    const { site, messages } = await visit('/');
    const viewer = await enter(await site.addUser('vi', 'viewer'), messages);
    await viewer.goto(`${site.origin}/controllers?open=${ID}`);
    await viewer.getByRole('dialog').locator('.facts').waitFor();
    await viewer.getByRole('dialog').getByText('the current one').waitFor();
    expect(await viewer.getByRole('button', { name: 'Edit…' }).count()).toBe(0);
    expect(messages).toEqual([]);
  });
});
