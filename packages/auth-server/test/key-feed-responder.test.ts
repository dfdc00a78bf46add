// Proves what a controller is told by M13, on a real registry: each state of a node, each kind of
// change, a walk through all nodes while they change, and a cursor that cannot be served.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  type Clocks,
  deriveApplicationRoot,
  FIRST_CURSOR,
  type KeyFeedEntry,
  type M13,
  openM13,
  openM9,
  sealM12,
  type Secret,
} from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import {
  addNodes,
  batchOf,
  commitTo,
  controller,
  copyOf,
  ID_C,
  MASTER,
  newNode,
  newRegistry,
  newSecret,
  openRegistry,
  TERMS,
  WALL,
} from '@latchkey/test-support/registry-fixtures';
import {
  addController,
  call,
  enrol,
  moveNodes,
  nodesSet,
  removeNodes,
  resetNode,
  setDisabled,
  setKeyLifetime,
  stageControllerKey,
} from '@latchkey/operations';
import { backup, type Registry, restore } from '@latchkey/registry';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { AuthServer } from '../src/server/auth-server.js';

const OTHER_C = 2;
const [SK_CS, OTHER_SK_CS] = [newSecret(), newSecret()];
const NO_TID_COUNTS = 2n ** 64n - 1n;

let now: { wallMs: number; monotonicMs: number };
let registry: Registry;
let server: AuthServer;
let lastTid = 0n;

const clock = (): Clocks => ({ ...now });

/** A server on that registry, which is closed after it. */
function newServer(on: Registry): AuthServer {
  const made = new AuthServer({ registry: on, clock, randomBytes, log: new CapturedLog().log });
  onTestFinished(() => made.close());
  return made;
}

beforeEach(async () => {
  now = { wallMs: WALL, monotonicMs: 1_000_000 };
  registry = await newRegistry(clock);
  await addController(registry, controller({ skCs: SK_CS }));
  await addController(registry, controller({ idC: OTHER_C, skCs: OTHER_SK_CS }));
  server = newServer(registry);
});

interface Asked {
  readonly tid?: bigint;
  readonly idC?: number;
  readonly ts?: number;
  readonly skCs?: Secret;
  readonly to?: AuthServer;
}

/** Sends an M12; gives the M13, or the reason of an M9, or the code of an answer without either. */
async function ask(
  cursor: bigint,
  { tid = (lastTid += 1n), idC = ID_C, ts = now.wallMs, skCs, to = server }: Asked = {},
): Promise<M13 | string> {
  const key = skCs ?? (idC === ID_C ? SK_CS : OTHER_SK_CS);
  const m12 = sealM12({ idC, tid, nonce: randomBytes(13) }, { ts: BigInt(ts), cursor }, key);
  // Faster than the limit allows, unless the test is about that.
  now.monotonicMs += 10;
  const { code, payload } = await to.answer(m12);
  if (payload === undefined) return code;
  const m9 = openM9(payload, m12, key);
  return m9 === undefined ? openM13(payload, m12, key)! : `reason ${m9.reason} about ${m9.idI}`;
}

async function page(cursor: bigint, asked: Asked = {}): Promise<M13> {
  const answer = await ask(cursor, asked);
  if (typeof answer === 'string') throw new Error(`no M13: ${answer}`);
  return answer;
}

interface Told {
  readonly entries: KeyFeedEntry[];
  readonly cursor: bigint;
  readonly pages: number;
}

/** Asks until an answer says that there is no more. */
async function follow(from: bigint, asked: Asked = {}): Promise<Told> {
  const entries: KeyFeedEntry[] = [];
  for (let [cursor, pages] = [from, 1]; ; pages++) {
    const answer = await page(cursor, asked);
    entries.push(...answer.entries);
    if (!answer.more) return { entries, cursor: answer.cursor, pages };
    cursor = answer.cursor;
  }
}

/** State and TID by ID, the last one where there are several. */
function states({ entries }: Pick<Told, 'entries'>): Record<number, string> {
  return Object.fromEntries(entries.map(({ idI, state, tid }) => [idI, `${state} ${tid === NO_TID_COUNTS ? 'any' : tid}`]));
}

/** The node joins, or renews its key, through a controller. */
async function renew(idI: number, tid: bigint, more: { idC?: number; ts?: number; lifetime?: number } = {}): Promise<Secret> {
  const psk = newSecret();
  expect(await commitTo(registry, await registry.node(idI), psk, { tid, ...more })).toBe('committed');
  return psk;
}

describe('a controller that asks with cursor 0', () => {
  it('is told of each of its nodes how it stands, and of no other', async () => {
    await addNodes(
      registry,
      [1, 2, 3, 4, 5].map((idI) => newNode(idI)),
    );
    await addNodes(registry, [newNode(6, { controller: OTHER_C }), newNode(7, { grace: 10 })]);
    const [psk] = [await renew(1, 11n), await renew(2, 12n, { lifetime: 0 }), await renew(3, 13n), await renew(7, 17n)];
    await setDisabled(registry, [3, 4], true);
    now.wallMs += 3_600_000 + 11_000;
    const told = await follow(FIRST_CURSOR);
    expect(states(told)).toEqual({
      1: 'current 11',
      2: 'current 12',
      3: 'disabled 13',
      4: 'disabled 0',
      5: 'initial 0',
      7: 'expired 17',
    });
    const [first, second] = told.entries;
    expect(first?.applicationRoot?.toHex()).toBe(deriveApplicationRoot(psk, 1).toHex());
    expect([first?.expiry, second?.expiry]).toEqual([WALL - 5 + 3_600_000, 0]);
    expect(states(await follow(FIRST_CURSOR, { idC: OTHER_C }))).toEqual({ 6: 'initial 0' });
    expect(await page(told.cursor)).toEqual({ cursor: told.cursor, more: false, entries: [] });
  });

  it('is told of 12 nodes in each answer, and of what changed meanwhile after the last', async () => {
    const ids = Array.from({ length: 40 }, (_, i) => i + 1);
    await addNodes(
      registry,
      ids.map((idI) => newNode(idI)),
    );
    await addNodes(registry, [newNode(100, { controller: OTHER_C })]);
    const first = await page(FIRST_CURSOR);
    expect(first.entries.map(({ idI }) => idI)).toEqual(ids.slice(0, 12));
    // One that was told, one to come, one that comes to the controller, and one that leaves it.
    await renew(5, 1n);
    await renew(30, 2n);
    await moveNodes(registry, [100], ID_C);
    await moveNodes(registry, [40], OTHER_C);
    const told = await follow(first.cursor);
    expect(states(told)).toMatchObject({ 5: 'current 1', 30: 'current 2', 100: 'initial 0', 40: 'moved any' });
    expect(new Set(told.entries.map(({ idI }) => idI))).toEqual(new Set([...ids.slice(12), 5, 100]));
    expect(told.pages).toBe(4);
  });

  it('gets the same walk for a copy of its M12, and an older copy does not end it', async () => {
    await addNodes(
      registry,
      Array.from({ length: 20 }, (_, i) => newNode(i + 1)),
    );
    const older = lastTid + 1n;
    await ask(FIRST_CURSOR, { tid: older });
    const { cursor } = await page(FIRST_CURSOR, { tid: older + 1n });
    now.monotonicMs += 1_000;
    expect(await page(FIRST_CURSOR, { tid: older + 1n })).toMatchObject({ cursor });
    // Another server, which has not seen what was answered before.
    expect(await ask(FIRST_CURSOR, { tid: older, to: newServer(registry) })).toBe('reason 8 about 0');
    lastTid = older + 1n;
    expect((await page(cursor)).entries).toHaveLength(8);
  });
});

describe('a controller that asks with a cursor', () => {
  let cursor: bigint;

  beforeEach(async () => {
    await addNodes(
      registry,
      [1, 2, 3].map((idI) => newNode(idI)),
    );
    for (const idI of [1, 2, 3]) await renew(idI, BigInt(10 + idI));
    ({ cursor } = await follow(FIRST_CURSOR));
  });

  it.each<[string, () => Promise<unknown>, Record<number, string>]>([
    ['a renewal', () => renew(1, 21n), { 1: 'current 21' }],
    ['a node disabled', () => setDisabled(registry, [2], true), { 2: 'disabled 12' }],
    ['a node removed', () => removeNodes(registry, [3]), { 3: 'removed any' }],
    ['a node moved away', () => moveNodes(registry, [1], OTHER_C), { 1: 'moved any' }],
    ['a reset, with the TID from before it', () => resetNode(registry, 1, newSecret()), { 1: 'initial 11' }],
    ['another grace', () => setKeyLifetime(registry, [1], { grace: 5 }), { 1: 'current 11' }],
    [
      'no description, which is about no key',
      () =>
        call(
          nodesSet,
          { registry, clock, actor: 'test' },
          { select: { ids: ['00000001'] }, description: { site: 'north', tags: ['pump'] } },
        ),
      {},
    ],
    ['an order', () => addNodes(registry, [newNode(8), newNode(9)]), { 8: 'initial 0', 9: 'initial 0' }],
    [
      'an import for several controllers',
      () =>
        enrol(registry, {
          terms: { ...TERMS, kind: 'import', idC: undefined },
          batch: batchOf([newNode(8), newNode(9, { controller: OTHER_C })]),
        }),
      { 8: 'initial 0' },
    ],
  ])('is told of %s, and of nothing else', async (_, change, expected) => {
    await change();
    const told = await follow(cursor);
    expect(states(told)).toEqual(expected);
    expect(told.entries).toHaveLength(Object.keys(expected).length);
    expect(await follow(told.cursor)).toMatchObject({ entries: [], cursor: told.cursor });
  });

  it('is told of an order that appears amid other changes, in their order, each once', async () => {
    await renew(1, 21n);
    await addNodes(
      registry,
      Array.from({ length: 30 }, (_, i) => newNode(100 + i)),
    );
    await addNodes(registry, [newNode(200, { controller: OTHER_C })], { idC: OTHER_C });
    await renew(110, 22n);
    await addNodes(registry, [newNode(201)]);
    const told = await follow(cursor);
    expect(states(told)).toMatchObject({ 1: 'current 21', 110: 'current 22', 201: 'initial 0' });
    expect(Object.keys(states(told))).toHaveLength(32);
    expect(told.entries.map(({ idI }) => idI)).not.toContain(200);
  });

  it('hears no more of a node that is another controller’s, until it comes back with its TID', async () => {
    await moveNodes(registry, [1], OTHER_C);
    const { cursor: after } = await follow(cursor);
    await renew(1, 500n, { idC: OTHER_C });
    await setDisabled(registry, [1], true);
    await resetNode(registry, 1, newSecret());
    const silent = await follow(after);
    expect(silent.entries).toEqual([]);
    await moveNodes(registry, [1], ID_C);
    expect(states(await follow(silent.cursor))).toEqual({ 1: 'disabled 11' });
    expect(states(await follow(FIRST_CURSOR, { idC: OTHER_C }))).toEqual({});
  });

  it('hears of a node that was removed and came again, with the TID from before', async () => {
    await removeNodes(registry, [2]);
    await addNodes(registry, [newNode(2)]);
    expect(states(await follow(cursor))).toEqual({ 2: 'initial 12' });
  });

  it('is told of a node once, as it is now, however often it changed', async () => {
    for (let i = 0; i < 30; i++) await renew(1 + (i % 3), BigInt(100 + i));
    const told = await follow(cursor);
    expect(told.entries).toHaveLength(3);
    expect(states(told)).toEqual({ 1: 'current 127', 2: 'current 128', 3: 'current 129' });
  });

  it('goes on at another server of the registry, in a walk too', async () => {
    const other = newServer(await openRegistry(registry.folder, clock));
    await addNodes(
      registry,
      Array.from({ length: 20 }, (_, i) => newNode(100 + i)),
    );
    const first = await page(cursor);
    expect(first).toMatchObject({ more: true });
    const rest = await follow(first.cursor, { to: other });
    expect(Object.keys(states({ entries: [...first.entries, ...rest.entries] }))).toHaveLength(20);
    await renew(1, 31n);
    expect(states(await follow(rest.cursor))).toEqual({ 1: 'current 31' });
  });

  const startOver = { cursor: FIRST_CURSOR, more: true, entries: [] };

  it('is told to start over with a cursor of another registry, or of a walk that is no more', async () => {
    expect(await page(cursor ^ (1n << 40n))).toEqual(startOver);
    expect(await page((1n << 63n) | 5n)).toEqual(startOver);
  });

  it('is told to start over once the log is pruned past its cursor, and not before', async () => {
    const last = (await registry.audit.readHead())!.seq;
    await registry.pruneAudit(last, '/dev/null');
    expect((await follow(cursor)).entries).toEqual([]);
    await renew(1, 21n);
    await registry.pruneAudit(last + 2, '/dev/null');
    expect(await page(cursor, { to: newServer(registry) })).toEqual(startOver);
  });

  it('is told to start over by a registry that was restored, and then what that has', async () => {
    const [file, folder] = [join(await tempFolder(), 'backup.lkb'), await tempFolder()];
    await backup(registry, file);
    await renew(1, 21n);
    const { cursor: later } = await follow(cursor);
    await restore(file, { folder, master: copyOf(MASTER), actor: 'user cy', replace: false, clock });
    const restored = newServer(await openRegistry(folder, clock));
    for (const known of [cursor, later]) expect(await page(known, { to: restored })).toEqual(startOver);
    expect(states(await follow(FIRST_CURSOR, { to: restored }))).toEqual({ 1: 'current 11', 2: 'current 12', 3: 'current 13' });
  });

  it('is refused with reason 8 by a server that is behind its cursor', async () => {
    expect(await ask(cursor + 10n)).toBe('reason 8 about 0');
  });
});

describe('a question about keys', () => {
  it('is refused with reason 6 out of time, and with a bare 4.01 if it does not open', async () => {
    expect(await ask(FIRST_CURSOR, { ts: WALL - 30_001 })).toBe('reason 6 about 0');
    expect(await ask(FIRST_CURSOR, { ts: WALL + 30_001 })).toBe('reason 6 about 0');
    expect(await ask(FIRST_CURSOR, { skCs: newSecret() })).toBe('4.01');
    expect(await ask(FIRST_CURSOR, { idC: 77 })).toBe('4.01');
    expect(await server.answer(Uint8Array.of(0x1c, 1, 2))).toEqual({ code: '4.00' });
  });

  it('is refused with reason 8 beyond 100 new TIDs a second; copies get a bare 5.03', async () => {
    const { cursor } = await follow(FIRST_CURSOR);
    const answers: unknown[] = [];
    for (let i = 0; i < 250; i++) {
      now.monotonicMs -= 10;
      answers.push(await ask(cursor));
    }
    expect(answers.filter((answer) => answer === 'reason 8 about 0').length).toBeGreaterThanOrEqual(140);
    now.monotonicMs += 1_000;
    const tid = (lastTid += 1n);
    expect(await ask(cursor, { tid })).toMatchObject({ cursor });
    expect(await ask(cursor, { tid })).toBe('5.03');
    now.monotonicMs += 1_000;
    expect(await ask(cursor, { tid })).toMatchObject({ cursor });
  });

  it('is refused with reason 9 while a walk cannot be written', async () => {
    registry.tables.write = () => Promise.reject(new Failure('the disk is full'));
    expect(await ask(FIRST_CURSOR)).toBe('reason 9 about 0');
  });

  it('puts the next SK_cs of its controller in use, as an M2 does', async () => {
    const staged = newSecret();
    await stageControllerKey(registry, ID_C, staged);
    expect(await ask(FIRST_CURSOR, { skCs: staged })).toMatchObject({ entries: [] });
    expect(await ask(FIRST_CURSOR)).toBe('4.01');
  });
});
