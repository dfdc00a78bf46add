// Proves on a real disk, with real processes, that the registry changes a key once, durably, and
// all or nothing.

import { allOf } from '@latchkey/registry';
import { execFileSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { ServerNodeRecord, Secret } from '@latchkey/protocol';
import type { UsageFailure } from '@latchkey/runtime/failure';
import { describe, expect, it } from 'vitest';
import { collected, Child, IS_ROOT, NOBODY, tempFolder } from '@latchkey/test-support/fixtures';
import { Registry } from '../src/registry.js';
import { addController, moveNodes, setDisabled, setJoinWindow, setOrderState, setKeyLifetime } from '@latchkey/operations';
import { Tables } from '../src/lmdb/tables.js';
import {
  addNodes,
  COMMIT,
  commitTo,
  controller,
  copyOf,
  ID_C,
  MASTER,
  newNode,
  newRegistry,
  newSecret,
  numbered,
  numberOf,
  openRegistry,
  WALL,
  withRegistry,
} from '@latchkey/test-support/registry-fixtures';

async function expectUntouched(registry: Registry, { idI, key }: ServerNodeRecord): Promise<void> {
  const now = await registry.node(idI);
  expect([now?.initial, now?.committed, now?.key.toHex()]).toEqual([true, undefined, key.toHex()]);
}

describe('a new registry', () => {
  it('is empty, and opens again', async () => {
    const registry = await newRegistry();
    expect([...(await allOf(registry.nodePages())), ...(await registry.controllers()), ...(await registry.orders())]).toEqual([]);
    expect([
      await registry.node(1),
      await registry.controller(1),
      await registry.order(1),
      registry.restored,
      registry.oldestPendingCommit,
    ]).toEqual(Array.from({ length: 5 }, () => undefined));
    expect(await allOf(registry.audit.entryPages())).toMatchObject([{ seq: 1, what: 'registry created', actor: 'test' }]);
    await registry.close();
    await openRegistry(registry.folder);
  });

  it('is for its user alone', async () => {
    const { folder } = await newRegistry();
    const store = join(folder, 'registry');
    expect((await stat(store)).mode & 0o777).toBe(0o700);
    for (const file of await readdir(store)) expect((await stat(join(store, file))).mode & 0o777, file).toBe(0o600);
  });

  it('is not made over another, which stays as it is, and no master key is drawn for it', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7)]);
    let drawn = 0;
    const draw = (): Promise<Secret> => {
      drawn += 1;
      return Promise.resolve(newSecret());
    };
    await expect(Registry.create(registry.folder, draw, 'test')).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${registry.folder} holds a registry already`,
      advice: expect.stringContaining('Nothing was changed') as string,
    });
    expect(drawn).toBe(0);
    expect(await registry.node(7)).toBeDefined();
  });

  it('is made once by two who begin at once: the later one leaves all as it is', async () => {
    const folder = await tempFolder();
    let first: Registry | undefined;
    const late = Registry.create(
      folder,
      async () => {
        first = await createIn(folder);
        await addNodes(first, [newNode(7)]);
        return copyOf(MASTER);
      },
      'test',
    );
    await expect(late).rejects.toMatchObject({ name: 'UsageFailure', message: `${folder} holds a registry already` });
    const created: number[] = [];
    for await (const page of first!.audit.entryPages())
      for (const { what, seq } of page) if (what === 'registry created') created.push(seq);
    expect(created).toEqual([1]);
    await first!.close();
    expect(await (await openRegistry(folder)).node(7)).toBeDefined();
  });

  it('is made where a creation was killed halfway', async () => {
    const folder = await tempFolder();
    await (await Tables.open(folder, 'test')).close();
    await expect(openRegistry(folder)).rejects.toMatchObject({ message: `${folder} holds no registry` });
    await (await Registry.create(folder, () => Promise.resolve(copyOf(MASTER)), 'test')).close();
    await openRegistry(folder);
  });
});

function createIn(folder: string): Promise<Registry> {
  return Registry.create(folder, () => Promise.resolve(copyOf(MASTER)), 'test');
}

it('a registry has an incarnation of its key feed from its start, and an init that finds it keeps that', async () => {
  const registry = await newRegistry();
  const { incarnation } = registry.tables.assignments;
  expect(incarnation).toBeGreaterThan(0);
  await registry.close();
  await expect(createIn(registry.folder)).rejects.toThrow('holds a registry already');
  expect((await openRegistry(registry.folder)).tables.assignments.incarnation).toBe(incarnation);
});

describe('a registry is refused', () => {
  it('where there is none, and none is made', async () => {
    const folder = await tempFolder();
    await expect(openRegistry(folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${folder} holds no registry`,
      // Not the command that makes one there: the path may be mistyped.
      run: [['latchkey-auth-server', 'init', '--help']],
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([0, 2, 256])('that has schema %i, and is left as it is', async (schema) => {
    const registry = await newRegistry();
    await registry.tables.metadata.put('schema', schema);
    await registry.close();
    const file = join(registry.folder, 'registry', 'data.mdb');
    const before = await readFile(file);
    await expect(openRegistry(registry.folder)).rejects.toMatchObject({
      name: 'Failure',
      message: `the registry in ${registry.folder} has schema ${schema}; this version of Latchkey reads schema 1`,
      advice: 'Nothing was changed. Use the version of Latchkey that wrote the registry.',
    });
    expect((await readFile(file)).equals(before)).toBe(true);
  });

  it.each(['registry-before-2026-11-28T102030Z', 'registry-restoring'])(
    'where a restore that was killed left only %s, and no empty one is made',
    async (name) => {
      const registry = await newRegistry();
      const { folder } = registry;
      await registry.close();
      await rename(join(folder, 'registry'), join(folder, name));
      const refusal = { name: 'UsageFailure', message: `${folder} holds no registry, but ${name}` };
      await expect(openRegistry(folder)).rejects.toMatchObject(refusal);
      await expect(createIn(folder)).rejects.toMatchObject(refusal);
      expect(await readdir(folder)).toEqual([name]);
      await rm(join(folder, name), { recursive: true });
      await (await createIn(folder)).close();
    },
  );

  it('whose store is in a database, and no second one is made beside it', async () => {
    const folder = await tempFolder();
    await writeFile(join(folder, 'postgres.json'), '{}\n', { mode: 0o600 });
    await mkdir(join(folder, 'registry-copied-2026-11-28T102030Z'));
    const refusal = {
      name: 'UsageFailure',
      message: `the registry of ${folder} is in a database`,
      advice: expect.stringContaining('--config') as string,
    };
    await expect(openRegistry(folder)).rejects.toMatchObject(refusal);
    await expect(createIn(folder)).rejects.toMatchObject(refusal);
  });

  it('under another master key, which is not told, and nothing is written', async () => {
    const registry = await newRegistry();
    const head = await registry.audit.readHead();
    await registry.close();
    const other = newSecret();
    const refused = (await Registry.open(registry.folder, copyOf(other), 'test').catch(
      (error: unknown) => error,
    )) as UsageFailure;
    expect(refused).toMatchObject({
      name: 'UsageFailure',
      message: `the keys in ${registry.folder} are not sealed under the master key [secret ${other.fingerprint}]`,
    });
    expect(`${refused.message} ${refused.advice} ${refused.stack}`).not.toContain(other.toHex());
    expect(await (await openRegistry(registry.folder)).audit.readHead()).toEqual(head);
  });

  it('that others can read', async () => {
    const registry = await newRegistry();
    await registry.close();
    const file = join(registry.folder, 'registry', 'data.mdb');
    await chmod(file, 0o640);
    await expect(openRegistry(registry.folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      advice: `Run: chmod 600 ${file}`,
    });
  });

  it('in a folder that everybody may write into', async () => {
    const registry = await newRegistry();
    await registry.close();
    await chmod(registry.folder, 0o777);
    await expect(openRegistry(registry.folder)).rejects.toMatchObject({ advice: `Run: chmod 700 ${registry.folder}` });
  });

  it('in words where its folder or its file is not ours to write', async () => {
    const folder = await tempFolder();
    const master = (): Promise<Secret> => Promise.resolve(newSecret());
    await (await Registry.create(join(folder, 'theirs'), master, 'test')).close();
    for (const path of [folder, join(folder, 'theirs'), join(folder, 'theirs', 'registry')])
      await chmod(path, IS_ROOT ? 0o755 : 0o555);
    const stranger = new Child(
      `import { Registry } from ${JSON.stringify(new URL('../dist/registry.js', import.meta.url).href)};
       const [folder, master] = [process.argv[1], () => { throw new Error('not asked for'); }];
       for (const attempt of [() => Registry.open(folder + '/theirs', undefined, ''), () => Registry.create(folder + '/new', master, '')]) {
         const { name, message } = await attempt().catch((error) => error);
         console.log(JSON.stringify({ name, message }));
       }`,
      [folder],
      NOBODY,
    );
    for (const what of [
      `cannot open the store ${join(folder, 'theirs', 'registry')}`,
      `cannot use the folder ${join(folder, 'new')}`,
    ]) {
      expect(JSON.parse((await stranger.line()) ?? '')).toEqual({ name: 'Failure', message: `${what}: permission denied` });
    }
    for (const path of [folder, join(folder, 'theirs'), join(folder, 'theirs', 'registry')]) await chmod(path, 0o700);
  });
});

describe('a commit', () => {
  it('replaces the key, with lifetime, controller, TID, NID and times, and all else stays', async () => {
    const registry = await newRegistry();
    const [node, psk] = [newNode(7, { joinFrom: 1, joinUntil: 2 }), newSecret()];
    const [order] = await addNodes(registry, [node]);
    const before = (await registry.node(7))!;
    expect(await commitTo(registry, before, psk)).toBe('committed');
    const now = (await registry.node(7))!;
    expect(now.key.toHex()).toBe(psk.toHex());
    const committed = { ...now.committed, nidI: Uint8Array.from(now.committed!.nidI) };
    expect({ ...now, key: 0, stored: 0, committed }).toEqual({
      ...before,
      key: 0,
      stored: 0,
      initial: false,
      committedAt: WALL,
      joinedAt: WALL,
      seenBy: [ID_C],
      committed: COMMIT,
      entry: (await registry.audit.readHead())?.seq,
    });
    expect(now).toMatchObject({ order, joinFrom: 1, joinUntil: 2, lifetime: 3_600, grace: 60 });
    expect(await registry.readLastWallClock()).toBe(WALL);
  });

  it('stands in the audit log, with fingerprints and without keys, a first one and the next', async () => {
    const registry = await newRegistry();
    const [node, one, two] = [newNode(7), newSecret(), newSecret()];
    await addNodes(registry, [node]);
    await commitTo(registry, await registry.node(7), one);
    await commitTo(registry, await registry.node(7), two, { tid: 0x10n });
    const [renewed, joined] = await registry.audit.entriesOfNode((await registry.node(7))?.entry, 10);
    const about = { actor: 'test', node: '00000007', controller: '00000001', at: new Date(WALL).toISOString() };
    expect(joined).toMatchObject({
      ...about,
      what: 'node joined',
      tid: 'fffffffffffffff0',
      key_before: node.key.fingerprint,
      key: one.fingerprint,
    });
    expect(renewed).toMatchObject({
      ...about,
      what: 'node renewed',
      tid: '0000000000000010',
      key_before: one.fingerprint,
      key: two.fingerprint,
      previous_entry: joined?.seq,
    });
    expect(JSON.stringify(await allOf(registry.audit.entryPages()))).not.toMatch(/[0-9a-f]{32}/);
    expect(await collected(registry.audit.verify())).toEqual([]);
  });

  it('is lost where the key is another by now, or the node unknown, and changes nothing', async () => {
    const registry = await newRegistry();
    const node = newNode(7);
    await addNodes(registry, [node]);
    const head = await registry.audit.readHead();
    expect(await commitTo(registry, { ...(await registry.node(7))!, key: newSecret() }, newSecret())).toBe('conflict');
    expect(await commitTo(registry, { ...(await registry.node(7))!, idI: 8 }, newSecret())).toBe('conflict');
    await expectUntouched(registry, node);
    expect([await registry.node(8), await registry.audit.readHead()]).toEqual([undefined, head]);
  });

  it.each<[string, (registry: Registry, order: number) => Promise<unknown>]>([
    ['disabled', (registry) => setDisabled(registry, [7], true)],
    ['moved', (registry) => moveNodes(registry, [7], 2)],
    ['given another lifetime', (registry) => setKeyLifetime(registry, [7], { lifetime: 60 })],
    ['kept out with its order', (registry, order) => setOrderState(registry, order, 'suspended')],
    ['given another join window', (registry, order) => setJoinWindow(registry, order, { joinUntil: 1 })],
    [
      'disabled and enabled',
      async (registry) => [await setDisabled(registry, [7], true), await setDisabled(registry, [7], false)],
    ],
  ])('is lost where the node was %s since it was judged', async (_, change) => {
    const registry = await newRegistry();
    await addController(registry, controller({ idC: 2 }));
    const node = newNode(7);
    const [order = 0] = await addNodes(registry, [node]);
    const judged = await registry.node(7);
    await change(registry, order);
    expect(await commitTo(registry, judged, newSecret())).toBe('conflict');
    await expectUntouched(registry, node);
    expect(await commitTo(registry, await registry.node(7), newSecret())).toBe('committed');
  });

  it('is late where its time is over as the transaction looks at the clock, and changes nothing', async () => {
    const registry = await newRegistry();
    const node = newNode(7);
    await addNodes(registry, [node]);
    const asked: number[] = [];
    const inTime = (now: number): boolean => {
      asked.push(now);
      return false;
    };
    expect(await registry.commit((await registry.node(7))!, newSecret(), COMMIT, () => WALL, inTime)).toBe('expired');
    expect(asked).toEqual([WALL]);
    await expectUntouched(registry, node);
  });

  it('is known to be under way until it has ended', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7), newNode(8)]);
    const before = performance.now();
    const judged = await Promise.all([7, 8].map((idI) => registry.node(idI)));
    const commits = judged.map((node) => commitTo(registry, node, newSecret()));
    expect(registry.oldestPendingCommit).toBeGreaterThanOrEqual(before);
    expect(registry.oldestPendingCommit).toBeLessThanOrEqual(performance.now());
    await Promise.all(commits);
    expect(registry.oldestPendingCommit).toBeUndefined();
  });

  it('is written to the disk together with those that come at the same time', async () => {
    const registry = await newRegistry();
    const nodes = Array.from({ length: 64 }, (_, i) => newNode(i));
    await addNodes(registry, nodes);
    const transactions = (): number => (registry.tables.env.getStats() as { lastTxnId: number }).lastTxnId;
    const before = transactions();
    const judged = await Promise.all(nodes.map(({ idI }) => registry.node(idI)));
    const commits = judged.map((node) => commitTo(registry, node, newSecret()));
    expect(new Set(await Promise.all(commits))).toEqual(new Set(['committed']));
    expect(transactions() - before).toBeLessThanOrEqual(2);
  });

  it('is one of those that race for a node: of 2,000 on 200 nodes exactly one each wins, and its key is there', async () => {
    const registry = await newRegistry();
    const nodes = Array.from({ length: 200 }, (_, i) => newNode(i));
    await addNodes(registry, nodes);
    const racers = nodes.flatMap(({ idI }) => Array.from({ length: 10 }, () => ({ idI, to: newSecret() })));
    // Shuffled by what is random in them anyway.
    racers.sort((a, b) => a.to.toHex().localeCompare(b.to.toHex()));
    const results = await Promise.all(racers.map(async ({ idI, to }) => commitTo(registry, await registry.node(idI), to)));
    const winners = racers.filter((_, i) => results[i] === 'committed');
    expect(results.filter((result) => result === 'conflict')).toHaveLength(1_800);
    expect(winners.map(({ idI }) => idI).toSorted((a, b) => a - b)).toEqual(nodes.map(({ idI }) => idI));
    for (const { idI, to } of winners) expect((await registry.node(idI))!.key.toHex()).toBe(to.toHex());
  });

  it('of one process and a racing one of another: one wins', async () => {
    const registry = await newRegistry();
    const nodes = Array.from({ length: 100 }, (_, i) => newNode(i, { key: numbered(i) }));
    await addNodes(registry, nodes);
    const other = new Child(
      withRegistry(`
        const judged = await Promise.all(Array.from({ length: 100 }, (_, i) => registry.node(i)));
        say('ready');
        const results = await Promise.all(Array.from({ length: 100 }, (_, i) =>
          registry.commit(judged[i], numbered(2000 + i), commit, () => 0, () => true)));
        say(JSON.stringify(results));
        await registry.close();`),
      [registry.folder],
    );
    const judged = await Promise.all(nodes.map(({ idI }) => registry.node(idI)));
    expect(await other.line()).toBe('ready');
    const ours = await Promise.all(nodes.map(({ idI }) => commitTo(registry, judged[idI], numbered(1_000 + idI))));
    const theirs = JSON.parse((await other.line()) ?? '[]') as string[];
    for (const { idI } of nodes) {
      expect(new Set([ours[idI], theirs[idI]])).toEqual(new Set(['committed', 'conflict']));
      expect(numberOf((await registry.node(idI))?.key)).toBe(ours[idI] === 'committed' ? 1_000 + idI : 2_000 + idI);
    }
  });
});

describe('what is on the disk', () => {
  it('is seen by another process at once: keys, nodes and controllers', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7, { key: numbered(0) })]);
    const writer = new Child(
      withRegistry(`
        for (let i = 1; i <= 30; i++) {
          await commitAs(7, numbered(i));
          const nid = { host: '192.0.2.1', port: 5683 };
          await addController(registry, { idC: i, skCs: numbered(i), nid, servers: [], addedAt: 0 });
          await enrolled([[100 + i, numbered(i)]]);
          say(i);
        }
        await registry.close();`),
      [registry.folder],
    );
    for (let i = 1; i <= 30; i++) {
      // Reads as a server does that is busy: what an earlier read in the same turn saw must not be
      // what this one sees.
      (await registry.node(7))?.key.wipe();
      (await registry.controller(i))?.skCs.wipe();
      expect(await writer.line()).toBe(String(i));
      expect(numberOf((await registry.controller(i))?.skCs), `controller ${i}`).toBe(i);
      expect(numberOf((await registry.node(100 + i))?.key), `node ${i}`).toBe(i);
      expect(numberOf((await registry.node(7))?.key), `commit ${i}`).toBeGreaterThanOrEqual(i);
    }
  });

  it.each<[string, (registry: Registry) => Promise<unknown>, unknown]>([
    ['a node', async (registry) => numberOf((await registry.node(7))?.key), 2],
    ['a controller', async (registry) => (await registry.controller(9))?.idC, 9],
    [
      'a node beside its controller',
      async (registry) => (await registry.controllerRow(9)) && numberOf((await registry.node(7))?.key),
      2,
    ],
  ])('is seen in the very turn in which it was something else: %s', async (_, look, seen) => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7, { key: numbered(1) })]);
    expect(numberOf((await registry.node(7))?.key)).toBe(1);
    const script = withRegistry(`
      await commitAs(7, numbered(2));
      await addController(registry, { idC: 9, skCs: numbered(9), nid: { host: '192.0.2.1', port: 5683 }, servers: [], addedAt: 0 });
      await registry.close();`);
    // This process stands still meanwhile: no turn, and no timer of lmdb's.
    execFileSync(process.execPath, ['--input-type=module', '--eval', script, '--', registry.folder]);
    expect(await look(registry)).toBe(seen);
  });

  it('is still there when the process is killed the moment a commit has resolved', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7, { key: numbered(0) })]);
    await registry.close();
    let before = 0;
    for (let round = 0; round < 5; round++) {
      const writer = new Child(
        withRegistry(`
          for (let i = Number(process.argv[2]);; i++) {
            if (await commitAs(7, numbered(i + 1)) !== 'committed') throw new Error('not committed');
            say(i + 1);
          }`),
        [registry.folder, String(before)],
      );
      let resolved = 0;
      for (let lines = 0; lines <= round; lines++) resolved = Number(await writer.line());
      await writer.kill('SIGKILL');
      const again = await openRegistry(registry.folder);
      before = numberOf((await again.node(7))?.key);
      expect(before).toBeGreaterThanOrEqual(resolved);
      expect(await again.node(7)).toMatchObject({ initial: false, lifetime: 3_600, committed: { tid: 1n } });
      await again.close();
    }
  });

  it('is read as often as wanted: a key that was wiped is wiped for its reader alone', async () => {
    const registry = await newRegistry();
    const [node, added] = [newNode(7), controller()];
    await addNodes(registry, [node]);
    await addController(registry, added);
    for (let i = 0; i < 3; i++) {
      const [read, of] = [(await registry.node(7))!, (await registry.controller(ID_C))!];
      expect([read.key.toHex(), of.skCs.toHex()]).toEqual([node.key.toHex(), added.skCs.toHex()]);
      read.key.wipe();
      of.skCs.wipe();
    }
  });
});

describe('a controller', () => {
  it('is stored and listed, and its ID is taken then', async () => {
    const registry = await newRegistry();
    const [one, two] = [controller({ idC: 0xffff_ffff }), controller({ idC: 2, servers: [{ host: '::1', port: 5693 }] })];
    await addController(registry, one);
    await addController(registry, two);
    await expect(addController(registry, controller({ idC: 2 }))).rejects.toMatchObject({
      name: 'UsageFailure',
      message: 'controller 00000002 is in the registry already',
    });
    const listed = await registry.controllers();
    const opened = await Promise.all(listed.map(({ idC }) => registry.controller(idC)));
    expect(opened.map((one) => one?.skCs.toHex())).toEqual([two.skCs.toHex(), one.skCs.toHex()]);
    expect(listed.map(({ idC, nid, servers, addedAt }) => ({ idC, nid: { ...nid }, servers, addedAt }))).toEqual(
      [two, one].map(({ idC, nid, servers, addedAt }) => ({ idC, nid, servers, addedAt })),
    );
  });
});

describe('a registry made under an open umask', () => {
  it('is for its user alone all the same, and opens again', async () => {
    const folder = await tempFolder();
    const before = process.umask(0o022);
    try {
      await (await Registry.create(folder, () => Promise.resolve(copyOf(MASTER)), 'test')).close();
    } finally {
      process.umask(before);
    }
    expect((await stat(join(folder, 'registry', 'data.mdb'))).mode & 0o777).toBe(0o600);
    await openRegistry(folder);
  });
});
