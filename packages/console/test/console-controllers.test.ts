// The controllers of the console in Chromium: which link key each uses.

import { existsSync } from 'node:fs';
import { type Secret } from '@latchkey/protocol';
import { call, controllersShow, stageControllerKey } from '@latchkey/operations';
import type { ControllerDetails } from '@latchkey/operations/contract';
import { type AdminFixture, C1, newSecret } from '@latchkey/test-support/admin-fixture';
import { describe, expect, it } from 'vitest';
import { CHROMIUM, faultsOf, STANDARDS, visit } from './browser.js';
import { JOINED } from './plant.js';

const ID = '00000001';

if (!existsSync(CHROMIUM)) console.warn(`${CHROMIUM} does not exist: the tests of controllers in the console are skipped`);

function contextOf({ registry }: AdminFixture): Parameters<typeof controllersShow.run>[0] {
  return { registry, clock: () => ({ wallMs: Date.now(), monotonicMs: Date.now() }), actor: 'user bo' };
}

async function shown(fixture: AdminFixture): Promise<ControllerDetails> {
  await fixture.registry.refresh();
  return call(controllersShow, contextOf(fixture), { id: ID });
}

describe.skipIf(!existsSync(CHROMIUM))('a controller in the console', () => {
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
    expect(await faultsOf(page, { runOnly: STANDARDS })).toEqual([]);

    await fixture.testServer((server) => server.request(server.exchange(JOINED, newSecret(), { skCs: staged }), 'm2'));
    await page.getByRole('button', { name: 'Reload' }).press('r');
    await row.getByText(`the current one (${fingerprint}, `).waitFor();
    await drawer.getByText('1 request since').waitFor();
    await drawer.getByText('What to do').waitFor({ state: 'detached' });
    expect(messages).toEqual([]);
  });
});
