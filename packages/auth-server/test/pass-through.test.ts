// Proves what the auth-server does for a pass-through controller on a real registry: no K_i leaves
// it, the mode is read with the key and compared in the commit, and TK outlives a master key but
// not a restore.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import {
  type Clocks,
  decodeM4,
  deriveApplicationRoot,
  derivePsk,
  encodeM1,
  encodeM4,
  encodeM6,
  openM10,
  openM11,
  openM3,
  openM4,
  openM6,
  openM8,
  openM9,
  sealM2,
  sealM5,
  sealM7,
  Secret,
} from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { AuthServer } from '../src/server/auth-server.js';
import { allOf, backup, restore, Registry, rotateMasterKey } from '@latchkey/registry';
import { addController, moveNodes, setController, stageControllerKey } from '@latchkey/operations';
import {
  addNodes,
  controller,
  copyOf,
  ID_C,
  MASTER,
  newNode,
  newRegistry,
  newSecret,
  NID,
  openRegistry,
  secretsMade,
  WALL,
} from '@latchkey/test-support/registry-fixtures';

const [ID_I, OTHER_C] = [0xa1b2, 2];
const SK_CS = newSecret();

let now: { wallMs: number; monotonicMs: number };
let registry: Registry;
let server: AuthServer;
let log: CapturedLog;
let lastTid = 0n;

const clock = (): Clocks => ({ ...now });

function pass(ms: number): void {
  now.wallMs += ms;
  now.monotonicMs += ms;
}

function serve(): void {
  log = new CapturedLog();
  server = new AuthServer({ registry, clock, randomBytes, log: log.log });
}

let key: Secret;

beforeEach(async () => {
  now = { wallMs: WALL, monotonicMs: 1_000_000 };
  registry = await newRegistry(clock);
  await addController(registry, controller({ skCs: copyOf(SK_CS), passThrough: true }));
  await addController(registry, controller({ idC: OTHER_C, skCs: copyOf(SK_CS) }));
  key = newSecret();
  await addNodes(registry, [newNode(ID_I, { key })]);
  serve();
});

function expectEqual(actual: unknown, expected: unknown): void {
  expect(actual).toEqual(expected);
}

function expectDifferent(actual: unknown, other: unknown): void {
  expect(actual).not.toEqual(other);
}

/** One transaction of a controller that relays, and of the node behind it. */
class Relayed {
  readonly #header: { readonly idC: number; readonly tid: bigint };
  readonly #m1: Uint8Array = encodeM1({ idI: ID_I, rnI: randomBytes(16) });
  readonly #rnC: Uint8Array = randomBytes(16);
  readonly #ts = BigInt(now.wallMs);
  m5: Uint8Array = new Uint8Array(33);
  psk: Secret = newSecret();

  constructor(idC: number = ID_C) {
    lastTid += 1n;
    this.#header = { idC, tid: lastTid };
  }

  get m2(): Uint8Array {
    const body = { rnC: this.#rnC, ts: this.#ts, m1Octets: this.#m1 };
    return sealM2({ ...this.#header, nonce: randomBytes(13) }, body, SK_CS);
  }

  get m7(): Uint8Array {
    const body = { rnC: this.#rnC, ts: this.#ts, nidI: NID, m1Octets: this.#m1, c5: this.m5.subarray(9) };
    return sealM7({ ...this.#header, nonce: randomBytes(13) }, body, SK_CS);
  }

  /**
   * `M3`, `M10`, or the reason. The node takes what it gets, under `held`, and has its M5 ready.
   */
  async begin(held: Secret = key): Promise<string> {
    const { m2 } = this;
    const { payload } = await server.answer(m2);
    const [m3, m10] = [openM3(payload!, m2, SK_CS), openM10(payload!, m2, SK_CS)];
    if (m3 === undefined && m10 === undefined) return `reason ${openM9(payload!, m2, SK_CS)?.reason}`;
    const rnI = this.#m1.subarray(5);
    let rnC = this.#rnC;
    if (m10 !== undefined) {
      expectEqual(m10.idI, ID_I);
      rnC = openM4(decodeM4(encodeM4({ ...this.#header, c4: m10.c4 })), held, this.#m1)!.rnC;
      expectDifferent(rnC, this.#rnC);
    }
    this.psk = derivePsk(held, rnI, rnC);
    this.m5 = sealM5({ ...this.#header, m1Octets: this.#m1 }, rnC, this.psk);
    return m10 === undefined ? 'M3' : 'M10';
  }

  /** `M8`, `M11`, or the reason. */
  async finish(lifetime = 3_600): Promise<string> {
    const { m7 } = this;
    const { payload } = await server.answer(m7);
    if (openM8(payload!, m7, SK_CS) !== undefined) return 'M8';
    const m11 = openM11(payload!, m7, SK_CS);
    if (m11 === undefined) return `reason ${openM9(payload!, m7, SK_CS)?.reason}`;
    expectEqual(openM6(this.#header, encodeM6(m11.c6), this.psk, this.m5), { lifetime });
    expectEqual([m11.idI, m11.lifetime], [ID_I, lifetime]);
    expectEqual(m11.applicationRoot.toHex(), deriveApplicationRoot(this.psk, ID_I).toHex());
    return 'M11';
  }
}

async function holds(held: Secret): Promise<boolean> {
  return (await registry.node(ID_I))!.key.equals(held);
}

describe('a pass-through controller', () => {
  it('has a node join and renew, and gets its application root, never its key', async () => {
    let held = key;
    for (let i = 0; i < 3; i++) {
      const relayed = new Relayed();
      expect([await relayed.begin(held), await relayed.finish()]).toEqual(['M10', 'M11']);
      expect(await holds(relayed.psk)).toBe(true);
      held = relayed.psk;
    }
    expect((await registry.node(ID_I))?.seenBy).toEqual([]);
  });

  it('has not seen the initial key of a node that asked and has not joined yet', async () => {
    const [relayed, draft] = [new Relayed(), new Relayed(OTHER_C)];
    expect(await relayed.begin()).toBe('M10');
    await server.close();
    expect((await registry.nodeActivity(ID_I))?.keyRequested).toMatchObject({ by: ID_C });
    expect((await registry.node(ID_I))?.seenBy).toEqual([]);
    await moveNodes(registry, [ID_I], OTHER_C);
    serve();
    expect(await draft.begin()).toBe('M3');
    await server.close();
    expect((await registry.node(ID_I))?.seenBy).toEqual([OTHER_C]);
  });

  it('leaves no key open in the server, where its row has changed since that was read', async () => {
    const relayed = new Relayed();
    expect([await relayed.begin(), await relayed.finish()]).toEqual(['M10', 'M11']);
    await setController(registry, ID_C, { nid: { host: '192.0.2.9', port: 5683 } });
    const { m7 } = relayed;
    const made = secretsMade();
    const { payload } = await server.answer(m7);
    // SK_cs is kept.
    expect(new Set(made())).toEqual(new Set(['[secret wiped]', String(SK_CS)]));
    expect(openM11(payload!, m7, SK_CS)).toBeDefined();
  });

  it('leaves no key open in the server that cannot tell whether its SK_cs still holds', async () => {
    await moveNodes(registry, [ID_I], OTHER_C);
    const readNode = registry.readNode.bind(registry);
    const { m2 } = new Relayed(OTHER_C);
    const made = secretsMade();
    vi.spyOn(registry, 'readNode').mockImplementationOnce(async (idI) => {
      await setController(registry, OTHER_C, { nid: { host: '192.0.2.9', port: 5683 } });
      vi.spyOn(registry, 'readController').mockImplementationOnce(() => Promise.reject(new Failure('the database is away')));
      return readNode(idI);
    });
    expect((await server.answer(m2)).code).toBe('5.03');
    expect(new Set(made())).toEqual(new Set(['[secret wiped]', String(SK_CS)]));
  });

  it('gets no M3 under an SK_cs that is replaced before the mode is read', async () => {
    const readNode = registry.readNode.bind(registry);
    const next = newSecret();
    registry.readNode = async (idI) => {
      registry.readNode = readNode;
      await stageControllerKey(registry, ID_C, copyOf(next));
      await registry.activateStagedKey(ID_C, next);
      await setController(registry, ID_C, { passThrough: false });
      return readNode(idI);
    };
    expect(await server.answer(new Relayed().m2)).toEqual({ code: '4.01' });
  });

  it('gets its M3 if another of its settings is changed before the mode is read', async () => {
    const readNode = registry.readNode.bind(registry);
    registry.readNode = async (idI) => {
      registry.readNode = readNode;
      await setController(registry, ID_C, { passThrough: false });
      return readNode(idI);
    };
    expect(await new Relayed().begin()).toBe('M3');
  });

  it('gets the same again for a repeat of the M7 that was committed last', async () => {
    const relayed = new Relayed();
    await relayed.begin();
    expect([await relayed.finish(), await relayed.finish()]).toEqual(['M11', 'M11']);
    await new Relayed().begin(relayed.psk);
    expect(await relayed.finish()).toBe('M11');
  });

  it('leaves the draft’s way to others: only they have seen the initial key', async () => {
    await moveNodes(registry, [ID_I], OTHER_C);
    const draft = new Relayed(OTHER_C);
    expect([await draft.begin(), await draft.finish()]).toEqual(['M3', 'M8']);
    expect((await registry.node(ID_I))?.seenBy).toEqual([OTHER_C]);
  });

  it('is refused a wrong proof with reason 7, and the key stays', async () => {
    const relayed = new Relayed();
    await relayed.begin();
    relayed.m5 = new Uint8Array(33).fill(1);
    expect([await relayed.finish(), await holds(key)]).toEqual(['reason 7', true]);
  });

  it('is what the registry says it is, and the audit log tells of each switch', async () => {
    expect((await registry.controllerRow(ID_C))?.passThrough).toBe(true);
    await setController(registry, ID_C, { passThrough: false });
    pass(1_000);
    expect(await setController(registry, ID_C, { passThrough: false })).toBe(false);
    await setController(registry, ID_C, { passThrough: true });
    expect(await registry.controllerRow(ID_C)).toMatchObject({ passThrough: true, switchedAt: now.wallMs });
    const notes = (await allOf(registry.audit.entryPages()))
      .filter(({ what }) => what === 'controller changed' || what === 'controller added')
      .map(({ what, note }) => [what, note]);
    expect(notes).toEqual([
      ['controller added', 'pass-through'],
      ['controller added', undefined],
      ['controller changed', 'pass-through on -> off'],
      ['controller changed', 'pass-through off -> on'],
    ]);
  });
});

describe('a switch while a server runs', () => {
  it.each([
    [true, 'M3', 'M10'],
    [false, 'M10', 'M3'],
  ])('to %s counts from the next M2 on, also where another process made it', async (to, before, then) => {
    await setController(registry, ID_C, { passThrough: !to });
    pass(200_000);
    expect(await new Relayed().begin()).toBe(before);
    const other = await openRegistry(registry.folder, clock);
    await setController(other, ID_C, { passThrough: to });
    const relayed = new Relayed();
    expect(await relayed.begin()).toBe(then);
    expect(await relayed.finish()).toBe(to ? 'M11' : 'M8');
  });

  it.each([true, false])('to %s makes what was under way nobody’s fault: reason 8 for 150 s, then 7', async (to) => {
    await setController(registry, ID_C, { passThrough: !to });
    pass(200_000);
    const underWay = new Relayed();
    await underWay.begin();
    await setController(registry, ID_C, { passThrough: to });
    expect(await underWay.finish()).toBe('reason 8');
    expect(log.text).toContain('was switched to or from pass-through');
    pass(80_000);
    expect(await underWay.finish()).toBe('reason 8');
    pass(70_001);
    const wrong = new Relayed();
    await wrong.begin();
    wrong.m5 = new Uint8Array(33).fill(1);
    expect([await wrong.finish(), await holds(key)]).toEqual(['reason 7', true]);
  });

  it('between judgement and commit loses the comparison: the proof is judged anew', async () => {
    const relayed = new Relayed();
    await relayed.begin();
    const commit = registry.commit.bind(registry);
    let switched = 0;
    registry.commit = async (...judged) => {
      if (switched === 0) {
        switched += 1;
        await setController(registry, ID_C, { passThrough: false });
      }
      return commit(...judged);
    };
    expect([await relayed.finish(), switched, await holds(key)]).toEqual(['reason 8', 1, true]);
  });
});

describe('TK', () => {
  it('is the same for another server of the registry, and after the master key was replaced', async () => {
    const relayed = new Relayed();
    await relayed.begin();
    const next = { path: '/nowhere', key: newSecret(), install: () => Promise.resolve() };
    const nextKey = Secret.from(next.key.expose());
    await rotateMasterKey(registry, next);
    const { folder } = registry;
    await server.close();
    await registry.close();
    registry = await Registry.open(folder, nextKey, 'test', clock);
    serve();
    expect(await relayed.finish()).toBe('M11');
    await server.close();
    await registry.close();
  });

  it('is another one after a restore: what was under way gets reason 8 and changes no key', async () => {
    const relayed = new Relayed();
    await relayed.begin();
    const file = join(await tempFolder(), 'backup.lkb');
    await backup(registry, file);
    const before = registry.transactionKey.toHex();
    const folder = await tempFolder();
    await restore(file, { folder, master: copyOf(MASTER), actor: 'test', replace: false, clock });
    registry = await openRegistry(folder, clock);
    serve();
    expect(registry.transactionKey.toHex()).not.toBe(before);
    expect([await relayed.finish(), await holds(key)]).toEqual(['reason 8', true]);
    pass(36_000);
    const anew = new Relayed();
    expect([await anew.begin(), await anew.finish()]).toEqual(['M10', 'M11']);
  });

  it('is made for a registry that has none, once', async () => {
    await registry.tables.write(() => registry.tables.metadata.removeSync('transaction key'));
    const [first, second] = [await openRegistry(registry.folder, clock), await openRegistry(registry.folder, clock)];
    expect(first.transactionKey.toHex()).toBe(second.transactionKey.toHex());
  });
});
