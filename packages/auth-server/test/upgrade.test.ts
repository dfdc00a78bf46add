// Proves that a registry of the version before is brought over whole, its keys sealed, however often that is interrupted, and the old one kept.

import { randomInt } from 'node:crypto';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { openStore, STORE_FILE } from '@latchkey/store';
import { describe, expect, it } from 'vitest';
import { CapturedLog, Child, tempFolder } from '../../runtime/test/fixtures.js';
import { Registry } from '../src/registry.js';
import { upgrade } from '../src/upgrade.js';
import { addNodes, commitTo, copyOf, MASTER, newNode, newSecret, NID, numbered, numberOf, openRegistry } from './fixtures.js';

const ADDED = 1_790_000_000_000;
const DAY = 86_400_000;
const OLD = 'registry-schema-1';
const PACKAGING = new URL('../../../packaging/', import.meta.url);
const CONTROLLER = { nid: { host: '192.0.2.1', port: 5683 }, servers: [{ host: '2001:db8::7', port: 5693 }], addedAt: ADDED };
const ORDERS = [
  { installer: 'Kim & Sons', idC: 1, count: 20, sharedKey: false, lifetime: 3_600, createdAt: ADDED + 1 },
  { installer: 'Ada', idC: 2, count: 20, sharedKey: true, lifetime: 0, createdAt: ADDED + 2 },
];

interface OldNode {
  key: Uint8Array;
  initial: boolean;
  controller: number;
  disabled: boolean;
  lifetime: number;
  grace: number;
  order?: number;
  addedAt: number;
  committed?: { idC: number; tid: string; ts: number; nidI: Uint8Array; lifetime: number; at: number };
}

/** Node `idI` as schema 1 has it: of order 1, order 2 with one key for all, or imported; every fifth has joined, every seventh is disabled. */
function oldNode(idI: number): OldNode {
  const order = idI % 3;
  const [row, joined] = [ORDERS[order - 1], idI % 5 === 0];
  const initialKey = order === 2 ? numbered(0xffff) : numbered(idI);
  return {
    key: (joined ? numbered((0x8000_0000 ^ idI) >>> 0) : initialKey).expose(),
    initial: !joined,
    controller: row?.idC ?? 1,
    disabled: idI % 7 === 0,
    lifetime: row?.lifetime ?? 77,
    grace: 604_800,
    addedAt: row?.createdAt ?? ADDED + idI,
    ...(row === undefined ? {} : { order }),
    ...(joined
      ? {
          committed: {
            idC: 9,
            tid: (2n ** 64n - BigInt(idI) - 1n).toString(16),
            ts: ADDED + DAY,
            nidI: NID,
            lifetime: 3_600 + idI,
            at: ADDED + DAY + idI,
          },
        }
      : {}),
  };
}

/** A registry as version 1 of the schema keeps it (0.1.0 before its release). */
async function oldRegistry(
  ids: readonly number[],
  more: { readonly schema?: number; readonly wall?: number } = {},
): Promise<string> {
  const folder = await tempFolder();
  const env = await openStore(join(folder, 'registry'), { maxDbs: 8 });
  const nodes = env.openDB<OldNode, number>({ name: 'nodes', keyEncoding: 'uint32' });
  const controllers = env.openDB<object, number>({ name: 'controllers', keyEncoding: 'uint32' });
  const orders = env.openDB<object, number>({ name: 'orders', keyEncoding: 'uint32' });
  const about = env.openDB<number, string>({ name: 'metadata' });
  await env.transaction(() => {
    about.putSync('schema', more.schema ?? 1);
    about.putSync('wall', more.wall ?? ADDED + 2 * DAY);
    for (const idC of [1, 2]) controllers.putSync(idC, { ...CONTROLLER, skCs: numbered(0x20_0000 + idC).expose() });
    ORDERS.forEach((order, i) => orders.putSync(i + 1, order));
    for (const idI of ids) nodes.putSync(idI, oldNode(idI));
  });
  await env.close();
  return folder;
}

async function upgraded(folder: string, log: CapturedLog = new CapturedLog()): Promise<Registry> {
  await upgrade(folder, () => Promise.resolve(copyOf(MASTER)), 'auth-server', log.log);
  return openRegistry(folder);
}

/** What is left of an upgrade that was killed between its last two steps. */
async function interrupted(): Promise<string> {
  const folder = await oldRegistry(IDS);
  await (await upgraded(folder)).close();
  await rename(join(folder, 'registry'), join(folder, 'registry-schema-2'));
  return folder;
}

function createdIn(folder: string): Promise<Registry> {
  return Registry.create(folder, () => Promise.resolve(copyOf(MASTER)), 'test');
}

/** A node is what it was. */
function expectNode(registry: Registry, idI: number): void {
  const { key, committed, order, addedAt, ...rest } = oldNode(idI);
  const now = registry.node(idI)!;
  expect(Buffer.from(now.key.expose()).equals(key), `node ${idI}`).toBe(true);
  expect(now, `node ${idI}`).toMatchObject(rest);
  expect(now.order).toBe(order ?? 3);
  expect(order === undefined || now.addedAt === addedAt).toBe(true);
  expect(now.committedAt).toBe(committed?.at);
  expect(now.committed === undefined).toBe(committed === undefined);
  if (committed === undefined) return;
  const { at: _, tid, nidI, ...commit } = committed;
  expect(now.committed).toMatchObject({ ...commit, tid: BigInt(`0x${tid}`) });
  expect(Buffer.from(now.committed?.nidI ?? []).equals(nidI)).toBe(true);
}

/** These nodes are what they were, and no others are there. */
function expectSame(registry: Registry, ids: readonly number[]): void {
  expect([...registry.nodes()].map(({ idI }) => idI)).toEqual([...ids]);
  for (const idI of ids) expectNode(registry, idI);
}

const IDS = [...Array.from({ length: 60 }, (_, i) => i), 0xffff_fffe, 0xffff_ffff];

describe('a registry of schema 1', () => {
  it('is refused until it is upgraded, with the command that does that', async () => {
    const folder = await oldRegistry(IDS);
    await expect(openRegistry(folder)).rejects.toMatchObject({
      message: `the registry in ${folder} is of an older version (schema 1; this one has 2)`,
      run: [['latchkey-auth-server', 'run', '--data', folder]],
    });
  });

  it('has the same nodes, keys, states and commits afterwards', async () => {
    const registry = await upgraded(await oldRegistry(IDS));
    expectSame(registry, IDS);
    const controllers = [...registry.controllers()].map(({ idC }) => registry.controller(idC)!);
    expect(controllers.map(({ skCs }) => numberOf(skCs))).toEqual([0x20_0001, 0x20_0002]);
    for (const { nid, servers, addedAt, stagedSkCs } of controllers)
      expect({ nid, servers, addedAt, stagedSkCs }).toEqual({ ...CONTROLLER, stagedSkCs: undefined });
    const [one, two, rest, none] = [...registry.orders()];
    expect(none).toBeUndefined();
    expect([one, two]).toMatchObject(ORDERS);
    for (const [i, order] of [one, two].entries())
      expect(order).toMatchObject({ number: i + 1, kind: 'order', state: 'open', grace: 604_800 });
    expect(rest).toMatchObject({
      number: 3,
      kind: 'import',
      state: 'open',
      idC: undefined,
      count: IDS.filter((id) => id % 3 === 0).length,
    });
    expect([...registry.audit.entries()]).toMatchObject([
      { seq: 1, what: 'registry upgraded', actor: 'auth-server', count: IDS.length },
    ]);
    expect([...registry.audit.verify()]).toEqual([]);
  });

  it('tells the IKs apart that were not traded in: one where an order shares it', async () => {
    const registry = await upgraded(await oldRegistry(IDS));
    const initial = [...registry.nodes()].filter((node) => node.initial);
    const ofOrder = (number: number): string[] => initial.filter(({ order }) => order === number).map(({ ik }) => ik.id);
    expect(new Set(ofOrder(2)).size).toBe(1);
    expect(new Set([...ofOrder(1), ...ofOrder(3)]).size).toBe(initial.length - ofOrder(2).length);
    expect(registry.node(1)?.ik.fingerprint).toBe(numbered(1).fingerprint);
  });

  it('goes on: nodes commit, orders are made, under the next number', async () => {
    const registry = await upgraded(await oldRegistry(IDS));
    expect(await commitTo(registry, registry.node(5), newSecret())).toBe('committed');
    expect(await commitTo(registry, registry.node(1), newSecret())).toBe('committed');
    expect(await addNodes(registry, [newNode(1_000)])).toEqual([4]);
    expect([...registry.audit.verify()]).toEqual([]);
  });

  it('has no key in it that is not sealed, and the old one is left where the log says', async () => {
    const [folder, log] = [await oldRegistry(IDS), new CapturedLog()];
    const before = await readFile(join(folder, 'registry', STORE_FILE));
    expect(before.includes(Buffer.from(numbered(1).expose()))).toBe(true);
    const registry = await upgraded(folder, log);
    await registry.close();
    expect((await readdir(folder)).toSorted()).toEqual(['registry', OLD]);
    const octets = await readFile(join(folder, 'registry', STORE_FILE));
    expect(octets.includes(Buffer.alloc(8, 0xee))).toBe(false);
    expect((await readFile(join(folder, OLD, STORE_FILE))).equals(before)).toBe(true);
    expect(log.lines).toMatchObject([{ level: 'warn', backup: join(folder, OLD) }]);
    expect(log.text).not.toMatch(/[0-9a-f]{32}/);
  });

  it('of no nodes, or none that were imported, has no order for those', async () => {
    for (const ids of [[], [1, 2, 4]]) {
      const registry = await upgraded(await oldRegistry(ids));
      expect([...registry.orders()].map(({ number }) => number)).toEqual([1, 2]);
      expectSame(registry, ids);
    }
  });

  // 'wall' is not brought over: the latest time is that of the upgrade.
  it('remembers the latest time a commit saw, so that a clock that was set back is noticed', async () => {
    const wall = Date.now() + DAY;
    expect((await upgraded(await oldRegistry(IDS, { wall }))).lastWallClock).toBeGreaterThanOrEqual(wall);
  });
});

describe('an upgrade', () => {
  it('asks for no master key and changes nothing where there is nothing to upgrade', async () => {
    const folder = await oldRegistry(IDS);
    await (await upgraded(folder)).close();
    const [before, log] = [await readFile(join(folder, 'registry', STORE_FILE)), new CapturedLog()];
    const none = (): never => {
      throw new Error('not asked for');
    };
    await upgrade(folder, none, 'test', log.log);
    const empty = await tempFolder();
    await upgrade(empty, none, 'test', log.log);
    expect([log.lines, await readdir(empty)]).toEqual([[], []]);
    expect((await readFile(join(folder, 'registry', STORE_FILE))).equals(before)).toBe(true);
  });

  it.each([3, 0, 100])('leaves schema %i alone, which is refused', async (schema) => {
    const folder = await oldRegistry(IDS, { schema });
    await expect(upgraded(folder)).rejects.toMatchObject({
      name: 'Failure',
      message: expect.stringContaining(`schema ${schema}; this one has 2`) as string,
    });
    expect(await readdir(folder)).toEqual(['registry']);
  });

  it('does not write over another backup', async () => {
    const folder = await oldRegistry(IDS);
    await mkdir(join(folder, OLD));
    await expect(upgraded(folder)).rejects.toMatchObject({
      name: 'Failure',
      message: `${join(folder, OLD)} is in the way of the upgrade`,
    });
    await expect(openRegistry(folder)).rejects.toMatchObject({ message: expect.stringContaining('schema 1') as string });
  });

  it('goes on where it was killed between its last two steps', async () => {
    const folder = await interrupted();
    expectSame(await upgraded(folder), IDS);
    expect((await readdir(folder)).toSorted()).toEqual(['registry', OLD]);
  });

  it('killed there is gone on with by the next start, under systemd (needs systemd-analyze)', async ({ skip }) => {
    if (spawnSync('systemd-analyze', ['--version']).status !== 0) skip();
    const unit = readFileSync(new URL('systemd/latchkey-auth-server.service', PACKAGING), 'utf8');
    const [condition = ''] = /^Condition.*$/m.exec(unit) ?? [];
    const starts = (folder: string): boolean =>
      spawnSync('systemd-analyze', ['condition', condition.replace('/var/lib/latchkey/auth-server', folder)]).status === 0;
    expect([await interrupted(), await oldRegistry(IDS), await tempFolder()].map(starts)).toEqual([true, true, false]);
  });

  it('killed there is gone on with by the next start, under OpenWrt', async () => {
    const script = new URL('openwrt/latchkey-auth-server', PACKAGING).pathname;
    const starts = (folder: string): string =>
      spawnSync(
        'sh',
        [
          '-c',
          `. ${script}; logger() { echo "$3"; }; procd_open_instance() { echo starts; exit; }; STATE=$1; start_service`,
          'sh',
          folder,
        ],
        {
          encoding: 'utf8',
        },
      ).stdout;
    const empty = await tempFolder();
    expect([await interrupted(), await oldRegistry(IDS), empty].map(starts)).toEqual([
      'starts\n',
      'starts\n',
      `not set up yet: latchkey-auth-server init --data ${empty}\n`,
    ]);
  });

  it('killed there has no empty registry made in its place, and every command tells how it goes on', async () => {
    const folder = await interrupted();
    const refusal = {
      name: 'UsageFailure',
      message: `the upgrade of the registry in ${folder} was interrupted`,
      run: [['latchkey-auth-server', 'run', '--data', folder]],
    };
    await expect(createdIn(folder)).rejects.toMatchObject(refusal);
    await expect(openRegistry(folder)).rejects.toMatchObject(refusal);
    expectSame(await upgraded(folder), IDS);
  });

  it.each(['registry-before-2026-11-28T102030Z', 'registry-restoring', OLD])(
    'or restore that left %s alone has no empty registry made beside it',
    async (name) => {
      const folder = await oldRegistry(IDS);
      await rename(join(folder, 'registry'), join(folder, name));
      await expect(createdIn(folder)).rejects.toMatchObject({ message: `${folder} holds no registry, but ${name}` });
      expect(await readdir(folder)).toEqual([name]);
      await rm(join(folder, name), { recursive: true });
      await (await createdIn(folder)).close();
    },
  );

  it('killed at any moment, again and again, ends with what was there', async () => {
    const ids = Array.from({ length: 20_000 }, (_, i) => i * 3 + (i % 2));
    const folder = await oldRegistry(ids);
    let kills = 0;
    for (let round = 0; ; round++) {
      const child = new Child(
        `process.umask(0o077);
         import { createLog } from ${JSON.stringify(new URL('../../runtime/dist/index.js', import.meta.url).href)};
         import { upgrade } from ${JSON.stringify(new URL('../dist/upgrade.js', import.meta.url).href)};
         import { Secret } from ${JSON.stringify(new URL('../../protocol/dist/index.js', import.meta.url).href)};
         console.log('ready');
         await upgrade(process.argv[1], () => Promise.resolve(Secret.fromHex('${MASTER.toHex()}')), 'auth-server', await createLog('test', 'error'));`,
        [folder],
      );
      expect(await child.line()).toBe('ready');
      // Longer and longer, so that it ends some time.
      const timer = setTimeout(() => void child.kill('SIGKILL'), randomInt(60 + 150 * round));
      const { code } = await child.exited;
      clearTimeout(timer);
      if (code === 0) break;
      kills += 1;
      const there = await readdir(folder);
      expect(there.includes('registry') || there.includes(OLD)).toBe(true);
    }
    expect(kills).toBeGreaterThan(0);
    const registry = await openRegistry(folder);
    expect([...registry.nodes()].map(({ idI }) => idI)).toEqual(ids);
    const wrong = ids.filter((idI) => !Buffer.from(registry.node(idI)?.key.expose() ?? []).equals(oldNode(idI).key));
    expect(wrong).toEqual([]);
    for (let i = 0; i < ids.length; i += 97) expectNode(registry, ids[i] ?? 0);
    expect([...registry.audit.entries()]).toHaveLength(1);
    expect((await readdir(folder)).toSorted()).toEqual(['registry', OLD]);
  }, 120_000);
});
