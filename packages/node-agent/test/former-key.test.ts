// Proves that a node keeps the application root of its key before, and not its PSK, for as long as
// peers may use it, and that `key` prints it.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deriveApplicationKey, deriveApplicationRoot, deriveKeyId, type NodeClocks, type Secret } from '@latchkey/protocol';
import { describe, expect, it, vi } from 'vitest';
import { readKeys } from '../src/key.js';
import type { FormerKey } from '../src/key-lease.js';
import { NodeFile, type StoredNode } from '../src/node-file.js';
import { ID_I, install, newKeyLease, newRecord, newSecret, TestController } from './fixtures.js';

const MINUTE_MS = 60_000;
const LABEL = 'mqtt-psk';
const LATER = { afterMs: 3_600_000, afterBoots: 8 };

/** A node that joined a moment ago, in the first boot that it has seen. */
function joined(more: Partial<StoredNode> = {}): StoredNode {
  const record = newRecord({ keyLease: newKeyLease(LATER), ...more });
  return { ...record, state: { ...record.state, initial: false } };
}

function replacedBefore(ms: number, expiresAt?: number): FormerKey {
  return { applicationRoot: newSecret(), replacedAt: { wallMs: Date.now() - ms, poweredMs: -ms, boots: 1 }, expiresAt };
}

function applicationKey(applicationRoot: Secret): string {
  return Buffer.from(deriveApplicationKey(applicationRoot, LABEL, ID_I)).toString('hex');
}

const QUERY = { label: [LABEL], octets: 16, format: 'hex' } as const;

describe('a node that renews', () => {
  it('keeps the application root of the key before, and no PSK', async () => {
    const record = joined();
    const controller = await TestController.open(record.state.confirmed);
    const { agent, folder } = await install({ ...record, endpoints: [controller.endpoint] });
    const before = record.state.confirmed.copy();
    const root = deriveApplicationRoot(before, ID_I);
    const joining = agent.join();
    await controller.admit();
    await joining;
    const stored = (await NodeFile.open(folder)).record;
    expect(stored.formerKey?.applicationRoot.toHex()).toBe(root.toHex());
    expect(stored.formerKey?.replacedAt.wallMs).toBe(stored.keyLease?.at);
    expect(await readFile(join(folder, 'node.json'), 'utf8')).not.toContain(before.toHex());

    const [now, former] = [deriveApplicationRoot(controller.psk!, ID_I), root];
    const kids = [now, former].map((one) => deriveKeyId(one, ID_I));
    expect(await readKeys({ ...QUERY, state: folder, previous: true })).toBe(`${applicationKey(former)}\n`);
    expect(await readKeys({ ...QUERY, state: folder, all: true })).toBe(
      `${kids[0]} ${applicationKey(now)}\n${kids[1]} ${applicationKey(former)}\n`,
    );
    const [current, previous] = (await readKeys({ ...QUERY, format: 'json', state: folder, all: true })).trim().split('\n');
    expect(JSON.parse(current ?? '')).not.toHaveProperty('until');
    const { kid, until } = JSON.parse(previous ?? '') as { readonly kid: string; readonly until: string };
    expect(kid).toBe(kids[1]);
    expect(Date.parse(until)).toBeGreaterThan(stored.keyLease!.at);
  });

  it('keeps the last one only, and wipes the one before that', async () => {
    const formerKey = replacedBefore(0);
    const record = joined({ formerKey });
    const controller = await TestController.open(record.state.confirmed);
    const { agent, file, folder } = await install({ ...record, endpoints: [controller.endpoint] });
    const opened = file.record.formerKey!;
    const root = deriveApplicationRoot(record.state.confirmed, ID_I).toHex();
    const joining = agent.join();
    await controller.admit();
    await joining;
    expect((await NodeFile.open(folder)).record.formerKey?.applicationRoot.toHex()).toBe(root);
    expect(() => opened.applicationRoot.toHex()).toThrow('a wiped key was used');
  });

  it('keeps the key that a candidate took the place of', async () => {
    const [candidate, record] = [newSecret(), joined()];
    const state = { ...record.state, candidates: [{ psk: candidate, storedAt: 0 }] };
    const root = deriveApplicationRoot(state.confirmed, ID_I).toHex();
    const controller = await TestController.open(candidate);
    const { agent, folder } = await install({ ...record, state, endpoints: [controller.endpoint] });
    const joining = agent.join();
    const m1 = await controller.next();
    controller.answer(m1, controller.m4(m1));
    const m5 = await controller.next();
    expect((await NodeFile.open(folder)).record.formerKey?.applicationRoot.toHex()).toBe(root);
    controller.answer(m5, controller.m6(m5));
    await joining;
    const { formerKey } = (await NodeFile.open(folder)).record;
    expect(formerKey?.applicationRoot.toHex()).toBe(deriveApplicationRoot(candidate, ID_I).toHex());
  });
});

it('a candidate that becomes the key counts from when it was stored, though the key before has expired', async () => {
  const [candidate, record, now] = [newSecret(), joined(), Date.now()];
  const clocksBefore = (ms: number): NodeClocks => ({ wallMs: now - ms, poweredMs: -ms, boots: 1 });
  const { wallMs: at, poweredMs: poweredAt, boots } = clocksBefore(90 * MINUTE_MS);
  const keyLease = { ...newKeyLease(LATER)!, joinedAt: at, at, poweredAt, boots, lifetime: 3_600 };
  const candidates = [{ psk: candidate, storedAt: -MINUTE_MS, clocks: clocksBefore(MINUTE_MS) }];
  const controller = await TestController.open(candidate);
  const state = { ...record.state, candidates };
  const { agent, folder } = await install({ ...record, state, keyLease, endpoints: [controller.endpoint] });
  const key = `${applicationKey(deriveApplicationRoot(candidate, ID_I))}\n`;
  const joining = agent.join();
  const m1 = await controller.next();
  controller.answer(m1, controller.m4(m1));
  const m5 = await controller.next();
  expect(await readKeys({ ...QUERY, state: folder })).toBe(key);
  const stored = (await NodeFile.open(folder)).record;
  expect(stored.keyLease).toMatchObject({ joinedAt: at, at: now - MINUTE_MS, lifetime: 3_600 });
  // The candidate of this attempt can be dated likewise.
  expect(stored.state.candidates[0]?.clocks?.wallMs).toBeGreaterThanOrEqual(now);
  controller.answer(m5, controller.m6(m5));
  await joining;
  expect(await readKeys({ ...QUERY, state: folder, previous: true })).toBe(key);
});

it('a node that trades in its initial key keeps nothing of it', async () => {
  const record = newRecord();
  const controller = await TestController.open(record.state.confirmed);
  const { agent, folder } = await install({ ...record, endpoints: [controller.endpoint] });
  const joining = agent.join();
  await controller.admit();
  await joining;
  expect((await NodeFile.open(folder)).record.formerKey).toBeUndefined();
  await expect(readKeys({ ...QUERY, state: folder, previous: true })).rejects.toMatchObject({
    name: 'Failure',
    message: expect.stringContaining('no former key') as string,
  });
});

describe('a former key that is over', () => {
  it.each([
    ['since its time has passed', replacedBefore(20 * MINUTE_MS)],
    ['since it has expired', replacedBefore(MINUTE_MS, Date.now() - 1)],
  ])('is not printed, and an agent that runs erases and wipes it: %s', async (_, formerKey) => {
    const { agent, file, folder } = await install(joined({ formerKey }));
    await expect(readKeys({ ...QUERY, state: folder, previous: true })).rejects.toMatchObject({ name: 'Failure' });
    const opened = file.record.formerKey!;
    const running = agent.run();
    await vi.waitFor(async () => expect((await NodeFile.open(folder)).record.formerKey).toBeUndefined(), 120_000);
    await vi.waitFor(() => expect(() => opened.applicationRoot.toHex()).toThrow('a wiped key was used'), 120_000);
    agent.stop();
    await running;
  });

  it('is erased without an agent that stays', async () => {
    const { agent, folder } = await install(joined({ formerKey: replacedBefore(20 * MINUTE_MS) }));
    await agent.forgetFormerKey();
    expect((await NodeFile.open(folder)).record.formerKey).toBeUndefined();
  });

  it('stays while peers may use it', async () => {
    const { agent, folder } = await install(joined({ formerKey: replacedBefore(MINUTE_MS) }));
    await agent.forgetFormerKey();
    expect((await NodeFile.open(folder)).record.formerKey).toBeDefined();
  });
});
