// Proves that no M7 from before an administrator gave a node an initial key again puts the key back
// that it proved then: by any of the ways to give one again, however the clocks step, and also for
// a commit under way. And that nobody else has to wait.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { INITIAL_KEY_RETENTION_MS, type Clocks, type Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { AuthServer } from '../src/server/auth-server.js';
import { backup, hadInitialKey, type Registry, rememberInitialKey, restore } from '@latchkey/registry';
import { addController, moveNodes, removeNodes, resetNode, enrol } from '@latchkey/operations';
import {
  addNodes,
  batchOf,
  commitTo,
  controller,
  copyOf,
  Exchange,
  ID_C,
  MASTER,
  newNode,
  newRegistry,
  newSecret,
  openRegistry,
  TERMS,
  WALL,
} from '@latchkey/test-support/registry-fixtures';

const ID_I = 0xa1b2;
const SK_CS = newSecret();

let now: { wallMs: number; monotonicMs: number };
let registry: Registry;
let server: AuthServer;
let log: CapturedLog;
let ik: Secret;

const clock = (): Clocks => ({ ...now });

function pass(ms: number): void {
  now.wallMs += ms;
  now.monotonicMs += ms;
}

function serve(): void {
  log = new CapturedLog();
  server = new AuthServer({ registry, clock, randomBytes, log: log.log });
}

beforeEach(async () => {
  now = { wallMs: WALL, monotonicMs: 1_000_000 };
  registry = await newRegistry(clock);
  await addController(registry, controller({ skCs: copyOf(SK_CS) }));
  ik = newSecret();
  await add(ik);
  serve();
});

function exchange(key: Secret = ik): Exchange {
  return new Exchange({ idI: ID_I, key, skCs: SK_CS, ts: now.wallMs });
}

/** `M3`, `M8`, or the reason and what the node is told of when to come again. */
async function ask(asked: Exchange, request: 'm2' | 'm7'): Promise<string> {
  const { payload, maxAge } = await server.answer(asked[request]);
  if (request === 'm2' && asked.openM3(payload) !== undefined) return 'M3';
  if (request === 'm7' && asked.openM8(payload) !== undefined) return 'M8';
  return `reason ${asked.openM9(payload, request)?.reason}, Max-Age ${maxAge}`;
}

async function add(key: Secret): Promise<void> {
  await addNodes(registry, [newNode(ID_I, { key })]);
}

/** As an import does that finds the node there, not joined. */
async function change(key: Secret, idC: number = ID_C): Promise<void> {
  const batch = batchOf([{ idI: ID_I, controller: idC, key }]);
  await enrol(registry, { terms: { ...TERMS, kind: 'import' }, batch, action: () => 'change' });
}

/** The node joins by the M7 that is given. */
async function joins(): Promise<Exchange> {
  const joined = exchange();
  expect([await ask(joined, 'm2'), await ask(joined, 'm7')]).toEqual(['M3', 'M8']);
  return joined;
}

/** An M7 whose M3 was given, and which has not come yet. */
async function keptBack(): Promise<Exchange> {
  const kept = exchange();
  expect(await ask(kept, 'm2')).toBe('M3');
  return kept;
}

async function holdsIk(): Promise<boolean> {
  return (await registry.node(ID_I))?.key.equals(ik) === true;
}

/**
 * From now on, when `ik` was given again, nothing from before counts, and a join waits for 35 s.
 */
async function expectHeldOff(before: Exchange): Promise<void> {
  expect(await ask(before, 'm7')).toBe('reason 8, Max-Age 35');
  expect(await ask(exchange(), 'm2')).toBe('reason 8, Max-Age 35');
  pass(20_000);
  expect(await ask(exchange(), 'm2')).toBe('reason 8, Max-Age 15');
  pass(15_001);
  expect(await ask(before, 'm7')).toBe('reason 8, Max-Age 10');
  expect(await holdsIk()).toBe(true);
  await joins();
  expect(await ask(before, 'm7')).toMatch(/^reason [78],/);
}

async function expectNoWait(key: Secret): Promise<void> {
  const asked = exchange(key);
  expect([await ask(asked, 'm2'), await ask(asked, 'm7')]).toEqual(['M3', 'M8']);
}

describe('the initial key that a node has, or had, given again', () => {
  it.each<[string, () => Promise<Exchange>]>([
    ['that it joined by', joins],
    ['that was kept back', keptBack],
  ])('by a reset: no M7 %s counts', async (_, happened) => {
    const before = await happened();
    pass(1_000);
    await resetNode(registry, ID_I, ik);
    await expectHeldOff(before);
  });

  it('is told of in the log', async () => {
    const before = await joins();
    await resetNode(registry, ID_I, ik);
    await ask(before, 'm7');
    const [at, end] = [WALL, WALL + 35_000].map((ms) => new Date(ms).toISOString());
    const [line] = log.withMessage(
      `refused: at ${at} its node was given an initial key again, or the registry was restored; what bears a TS up to ${end} may be from before`,
    );
    expect(line).toMatchObject({ node: '0000a1b2', reason: 8 });
  });

  it('by a reset to another and back', async () => {
    const before = await joins();
    await resetNode(registry, ID_I, newSecret());
    pass(1_000);
    await resetNode(registry, ID_I, ik);
    await expectHeldOff(before);
  });

  it('by removing and importing it again', async () => {
    const before = await joins();
    await removeNodes(registry, [ID_I]);
    pass(50_000);
    await add(ik);
    await expectHeldOff(before);
  });

  it('by an import that changes it to another, and back', async () => {
    const before = await keptBack();
    await change(newSecret());
    pass(1_000);
    await change(ik);
    await expectHeldOff(before);
  });

  it('stays so where it is moved, or an import moves it, and again where it is reset again', async () => {
    const before = await joins();
    await resetNode(registry, ID_I, ik);
    await moveNodes(registry, [ID_I], ID_C);
    await change(ik, ID_C);
    expect((await registry.node(ID_I))?.reissuedAt).toBe(WALL);
    pass(10_000);
    await resetNode(registry, ID_I, ik);
    await expectHeldOff(before);
  });

  it('is no matter any more once the node has joined', async () => {
    await joins();
    await resetNode(registry, ID_I, ik);
    pass(35_001);
    const joined = await joins();
    expect((await registry.node(ID_I))?.reissuedAt).toBeUndefined();
    const renewal = exchange(joined.psk);
    expect([await ask(renewal, 'm2'), await ask(renewal, 'm7')]).toEqual(['M3', 'M8']);
  });
});

describe('nobody waits', () => {
  it('for an initial key that the node never had', async () => {
    await joins();
    const other = newSecret();
    await resetNode(registry, ID_I, other);
    await expectNoWait(other);
    const third = newSecret();
    await removeNodes(registry, [ID_I]);
    await add(third);
    await expectNoWait(third);
  });

  it('for one that another node had', async () => {
    await joins();
    await removeNodes(registry, [ID_I]);
    await addNodes(registry, [newNode(ID_I + 1, { key: ik })]);
    expect((await registry.node(ID_I + 1))?.reissuedAt).toBeUndefined();
  });

  it('where it was taken away so long ago that no M7 from then is within its window', async () => {
    const before = await joins();
    await removeNodes(registry, [ID_I]);
    // The server keeps the time, as it does all along.
    for (let i = 0; i < 10; i++) {
      pass(30_001);
      await server.persistClock();
    }
    await add(ik);
    expect(await ask(before, 'm7')).toBe('reason 6, Max-Age undefined');
    await expectNoWait(ik);
  });
});

describe('a commit under way', () => {
  it('as the same initial key is given again is lost, and then refused', async () => {
    const before = await keptBack();
    const [judged, psk] = [await registry.node(ID_I), newSecret()];
    await resetNode(registry, ID_I, ik);
    expect(await commitTo(registry, judged, psk)).toBe('conflict');
    // Through the server: the reset is written while its transaction waits.
    await removeNodes(registry, [ID_I]);
    await add(ik);
    const { env } = registry.tables;
    const transaction = env.transaction.bind(env);
    env.transaction = async <T>(action: () => T): Promise<T> => {
      env.transaction = transaction;
      await resetNode(registry, ID_I, ik);
      return transaction(action);
    };
    pass(300_001);
    const later = exchange();
    expect(await ask(later, 'm7')).toBe('reason 8, Max-Age 35');
    expect([await ask(before, 'm7'), await holdsIk()]).toEqual(['reason 6, Max-Age undefined', true]);
  });

  it('is compared by that time itself, whatever else the row says', async () => {
    const judged = await registry.node(ID_I);
    const row = registry.tables.nodes.get(ID_I)!;
    await registry.tables.nodes.put(ID_I, { ...row, reissuedAt: now.wallMs });
    expect(await commitTo(registry, judged, newSecret())).toBe('conflict');
    expect(await commitTo(registry, await registry.node(ID_I), newSecret())).toBe('committed');
  });
});

describe('a registry that is restored', () => {
  /** As it was at `from`, in a folder of its own. */
  async function restored(): Promise<() => Promise<void>> {
    const file = join(await tempFolder(), 'backup.lkb');
    await backup(registry, file);
    return async () => {
      await server.close();
      await registry.close();
      const folder = await tempFolder();
      await restore(file, { folder, master: copyOf(MASTER), actor: 'test', replace: false, clock });
      registry = await openRegistry(folder, clock);
      serve();
    };
  }

  it('commits nothing from before to any node: M7s that put the key back which the node was reset from', async () => {
    const putBack = await restored();
    const before = await joins();
    pass(1_000);
    await putBack();
    await expectHeldOff(before);
  });

  it('has a node wait that renews, and gives the M8 of its last commit again', async () => {
    const joined = await joins();
    const putBack = await restored();
    pass(1_000);
    await putBack();
    const renewal = exchange(joined.psk);
    expect([await ask(renewal, 'm2'), await ask(renewal, 'm7')]).toEqual(['reason 8, Max-Age 35', 'reason 8, Max-Age 35']);
    expect(await ask(joined, 'm7')).toBe('M8');
    pass(35_001);
    const later = exchange(joined.psk);
    expect([await ask(later, 'm2'), await ask(later, 'm7')]).toEqual(['M3', 'M8']);
  });

  it('counts from a reset after it, if there is one', async () => {
    const putBack = await restored();
    await putBack();
    pass(10_000);
    const before = exchange();
    await resetNode(registry, ID_I, ik);
    await expectHeldOff(before);
  });

  it('commits nothing from before a clock that is set back after it, either', async () => {
    const putBack = await restored();
    const before = await joins();
    await putBack();
    await server.persistClock();
    now.wallMs -= 70_000;
    await server.persistClock();
    pass(300_000);
    now.wallMs = WALL + 60_000;
    expect(await ask(before, 'm7')).toMatch(/^reason 8,/);
  });
});

describe('the time that counts', () => {
  it('is by the servers’ clock: where the one of the command is another, the latest that they showed', async () => {
    const before = await joins();
    const other = await openRegistry(registry.folder, () => ({ wallMs: WALL - 3_600_000, monotonicMs: now.monotonicMs }));
    await resetNode(other, ID_I, ik);
    expect((await registry.node(ID_I))?.reissuedAt).toBe(WALL + 60_000);
    const ahead = await openRegistry(registry.folder, () => ({ wallMs: WALL + 3_600_000, monotonicMs: now.monotonicMs }));
    await resetNode(ahead, ID_I, ik);
    expect((await registry.node(ID_I))?.reissuedAt).toBe(WALL + 60_000);
    expect(await ask(before, 'm7')).toBe('reason 8, Max-Age 95');
    pass(95_001);
    await joins();
  });

  it('has nobody wait for a clock that was far ahead, and is set right', async () => {
    const year = 31_536_000_000;
    now.wallMs += year;
    await server.persistClock();
    const before = await joins();
    await resetNode(registry, ID_I, ik);
    expect((await registry.node(ID_I))?.reissuedAt).toBe(WALL + year);
    now.wallMs -= year;
    await server.persistClock();
    expect(await ask(exchange(), 'm2')).toBe('M3');
    pass(300_000);
    await joins();
    expect(await ask(before, 'm7')).toBe('reason 6, Max-Age undefined');
  });

  it('is held off again by its clock that was set back a little: M7s from before that count no more anyway', async () => {
    const before = await joins();
    pass(50_000);
    await resetNode(registry, ID_I, ik);
    now.wallMs -= 50_000;
    await server.persistClock();
    for (let i = 0; i < 30; i++) {
      pass(10_000);
      expect(await ask(before, 'm7')).toMatch(/^reason [68],/);
      expect(await holdsIk()).toBe(true);
    }
  });
});

describe('what is remembered of initial keys', () => {
  const keys = Array.from({ length: 12 }, (_, i) => Uint8Array.from([...Buffer.alloc(9, 7), i + 1]));
  const remember = (ids: readonly number[], key: Uint8Array, at: (idI: number) => number): Promise<void> =>
    registry.write({ recentInitialKeys: ids }, (found) => ({
      result: undefined,
      put: {
        recentInitialKeys: ids.map((idI) => [idI, rememberInitialKey(found.recentInitialKeys(idI), key, at(idI))] as const),
      },
    }));
  const hadBy = async (idI: number, key: Uint8Array, at: number): Promise<boolean> =>
    hadInitialKey((await registry.storage.read({ recentInitialKeys: [idI] })).recentInitialKeys(idI), key, at);
  const had = (i: number, at: number): Promise<boolean> => hadBy(1, keys[i]!, at);
  const hadEach = (places: readonly number[], at: number): Promise<boolean[]> => Promise.all(places.map((i) => had(i, at)));

  it('is one ID’s, and old five minutes later', async () => {
    await remember([1], keys[0]!, () => 1_000);
    expect([...(await hadEach([0, 1], 1_000)), await hadBy(2, keys[0]!, 1_000)]).toEqual([true, false, false]);
    const old = 1_000 + INITIAL_KEY_RETENTION_MS;
    expect([await had(0, old), await had(0, old + 1)]).toEqual([true, false]);
    await remember([1], keys[0]!, () => 2_000);
    expect(await had(0, old + 1_000)).toBe(true);
  });

  it('is bounded: of more keys than eight it says that the ID had any', async () => {
    for (let i = 0; i < 8; i++) await remember([1], keys[i]!, () => 1_000 + i);
    expect(await hadEach([0, 7, 8], 1_008)).toEqual([true, true, false]);
    for (let i = 8; i < 10; i++) await remember([1], keys[i]!, () => 1_000 + i);
    expect(await hadEach([0, 1, 9, 11], 1_010)).toEqual([true, true, true, true]);
    // Until the last of those is old that it stands for.
    const old = 1_002 + INITIAL_KEY_RETENTION_MS;
    expect([await had(11, old), ...(await hadEach([11, 3], old + 1))]).toEqual([true, false, true]);
  });

  it('is forgotten a part at a time, what is old alone', async () => {
    const old = WALL - INITIAL_KEY_RETENTION_MS - 1;
    const ids = Array.from({ length: 2_500 }, (_, idI) => idI);
    await remember(ids, keys[0]!, (idI) => (idI % 2 === 0 ? old : WALL));
    const forgotten: number[] = [];
    for (let i = 0; i < 4; i++) forgotten.push(await registry.forgetInitialKeys());
    expect(forgotten).toEqual([512, 512, 226, 0]);
    expect([await hadBy(0, keys[0]!, old), await hadBy(1, keys[0]!, WALL)]).toEqual([false, true]);
  });

  it('is forgotten by a server as time passes', async () => {
    const { ik: identity } = (await registry.nodeRow(ID_I))!;
    await removeNodes(registry, [ID_I]);
    await registry.forgetInitialKeys();
    expect(await hadBy(ID_I, identity, WALL)).toBe(true);
    pass(INITIAL_KEY_RETENTION_MS + 1);
    await registry.forgetInitialKeys();
    expect(await hadBy(ID_I, identity, WALL)).toBe(false);
  });
});
