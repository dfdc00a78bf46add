// Proves on a real disk, with real processes, that the registry changes a key once, durably, and all or nothing.

import { chmod, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type Commit, formatId, type NodeRecord, Secret } from '@latchkey/protocol';
import { open } from 'lmdb';
import { describe, expect, it } from 'vitest';
import { Child, IS_ROOT, NOBODY, tempFolder } from '../../runtime/test/fixtures.js';
import { Registry } from '../src/registry.js';
import { closedAfter, controller, ID_C, newNode, newRegistry, newSecret, NID, WALL } from './fixtures.js';

const COMMIT: Commit = { idC: ID_C, tid: 0xffff_ffff_ffff_fff0n, ts: WALL - 5, nidI: NID, lifetime: 3_600 };
const always = (): boolean => true;
const wall = (): number => WALL;

/** A key whose octets say that it is the `i`th. */
function numbered(i: number): Secret {
  const octets = Buffer.alloc(16, 0xee);
  octets.writeUInt32BE(i);
  return Secret.from(octets);
}

function numberOf(key: Secret | undefined): number {
  return Number.parseInt(key?.toHex().slice(0, 8) ?? '', 16);
}

function expectUntouched(registry: Registry, { idI, key }: NodeRecord): void {
  const now = registry.node(idI);
  expect([now?.initial, now?.committed, now?.key.toHex()]).toEqual([true, undefined, key.toHex()]);
}

/** A script that opens the registry in its first argument as another process would. */
function withRegistry(body: string): string {
  return `
    process.umask(0o077);
    import { writeSync } from 'node:fs';
    import { Registry } from ${JSON.stringify(new URL('../dist/registry.js', import.meta.url).href)};
    import { Secret } from ${JSON.stringify(new URL('../../protocol/dist/index.js', import.meta.url).href)};
    const registry = await Registry.open(process.argv[1]);
    const numbered = (i) => { const octets = Buffer.alloc(16, 0xee); octets.writeUInt32BE(i); return Secret.from(octets); };
    const commit = { idC: 1, tid: 1n, ts: 0, nidI: new Uint8Array(18), lifetime: 0 };
    ${body}`;
}

describe('a new registry', () => {
  it('is empty, and opens again', async () => {
    const registry = await newRegistry();
    expect([...registry.nodes(), ...registry.controllers()]).toEqual([]);
    expect([registry.node(1), registry.controller(1), registry.order(1), registry.latestWall, registry.oldestCommit]).toEqual(
      Array.from({ length: 5 }, () => undefined),
    );
    await registry.close();
    await (await Registry.open(registry.folder)).close();
  });

  it('is for its user alone', async () => {
    const { folder } = await newRegistry();
    const store = join(folder, 'registry');
    expect((await stat(store)).mode & 0o777).toBe(0o700);
    for (const file of await readdir(store)) expect((await stat(join(store, file))).mode & 0o777, file).toBe(0o600);
  });

  it('is not made over another, which stays as it is', async () => {
    const registry = await newRegistry();
    await registry.addNodes([newNode(7)], WALL);
    await expect(Registry.create(registry.folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${registry.folder} holds a registry already`,
      advice: expect.stringContaining('Nothing was changed') as string,
    });
    expect(registry.node(7)).toBeDefined();
  });
});

describe('a registry is refused', () => {
  it('where there is none, with the command that makes one, and none is made', async () => {
    const folder = await tempFolder();
    await expect(Registry.open(folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${folder} holds no registry`,
      advice: `Run: latchkey-auth-server init --data ${folder}`,
    });
    expect(await readdir(folder)).toEqual([]);
  });

  it.each([[2], [0], [undefined]])('that has schema %s', async (schema) => {
    const registry = await newRegistry();
    await registry.close();
    const env = open({ path: join(registry.folder, 'registry'), maxDbs: 8 });
    const about = env.openDB<number, string>({ name: 'about' });
    if (schema === undefined) await about.remove('schema');
    else await about.put('schema', schema);
    await env.close();
    await expect(Registry.open(registry.folder)).rejects.toMatchObject({
      name: 'Failure',
      message: `the registry in ${registry.folder} has schema ${schema ?? 'none'}; this version knows 1`,
    });
  });

  it('that others can read', async () => {
    const registry = await newRegistry();
    await registry.close();
    const file = join(registry.folder, 'registry', 'data.mdb');
    await chmod(file, 0o640);
    await expect(Registry.open(registry.folder)).rejects.toMatchObject({
      name: 'UsageFailure',
      advice: `Run: chmod 600 ${file}`,
    });
  });

  it('in a folder that everybody may write into', async () => {
    const registry = await newRegistry();
    await registry.close();
    await chmod(registry.folder, 0o777);
    await expect(Registry.open(registry.folder)).rejects.toMatchObject({ advice: `Run: chmod 700 ${registry.folder}` });
  });

  it('in words where its folder or its file is not ours to write', async () => {
    const folder = await tempFolder();
    await (await Registry.create(join(folder, 'theirs'))).close();
    for (const path of [folder, join(folder, 'theirs'), join(folder, 'theirs', 'registry')])
      await chmod(path, IS_ROOT ? 0o755 : 0o555);
    const stranger = new Child(
      `import { Registry } from ${JSON.stringify(new URL('../dist/registry.js', import.meta.url).href)};
       for (const attempt of [() => Registry.open(process.argv[1] + '/theirs'), () => Registry.create(process.argv[1] + '/new')]) {
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
    await registry.addNodes([node], WALL - 10);
    expect(await registry.commit(7, node.key, psk, COMMIT, wall, always)).toBe('committed');
    const { key, ...rest } = registry.node(7)!;
    const { key: _, ...before } = node;
    expect(key.toHex()).toBe(psk.toHex());
    expect({ ...rest, committed: { ...rest.committed, nidI: Uint8Array.from(rest.committed!.nidI) } }).toEqual({
      ...before,
      initial: false,
      order: undefined,
      addedAt: WALL - 10,
      committedAt: WALL,
      committed: COMMIT,
    });
    expect(registry.latestWall).toBe(WALL);
  });

  it('is lost where the key is another by now, or the node unknown, and changes nothing', async () => {
    const registry = await newRegistry();
    const node = newNode(7);
    await registry.addNodes([node], WALL);
    expect(await registry.commit(7, newSecret(), newSecret(), COMMIT, wall, always)).toBe('lost');
    expect(await registry.commit(8, node.key, newSecret(), COMMIT, wall, always)).toBe('lost');
    expectUntouched(registry, node);
    expect([registry.node(8), registry.latestWall]).toEqual([undefined, undefined]);
  });

  it('is late where its time is over as the transaction looks at the clock, and changes nothing', async () => {
    const registry = await newRegistry();
    const node = newNode(7);
    await registry.addNodes([node], WALL);
    const asked: number[] = [];
    const inTime = (now: number): boolean => {
      asked.push(now);
      return false;
    };
    expect(await registry.commit(7, node.key, newSecret(), COMMIT, wall, inTime)).toBe('late');
    expect(asked).toEqual([WALL]);
    expectUntouched(registry, node);
  });

  it('is known to be under way until it has ended', async () => {
    const registry = await newRegistry();
    const nodes = [newNode(7), newNode(8)];
    await registry.addNodes(nodes, WALL);
    const before = performance.now();
    const commits = nodes.map(({ idI, key }) => registry.commit(idI, key, newSecret(), COMMIT, wall, always));
    expect(registry.oldestCommit).toBeGreaterThanOrEqual(before);
    expect(registry.oldestCommit).toBeLessThanOrEqual(performance.now());
    await Promise.all(commits);
    expect(registry.oldestCommit).toBeUndefined();
  });

  it('is one of those that race for a node: of 2,000 on 200 nodes exactly one each wins, and its key is there', async () => {
    const registry = await newRegistry();
    const nodes = Array.from({ length: 200 }, (_, i) => newNode(i));
    await registry.addNodes(nodes, WALL);
    const racers = nodes.flatMap(({ idI, key }) => Array.from({ length: 10 }, () => ({ idI, from: key, to: newSecret() })));
    // Shuffled by what is random in them anyway.
    racers.sort((a, b) => a.to.toHex().localeCompare(b.to.toHex()));
    const results = await Promise.all(racers.map(({ idI, from, to }) => registry.commit(idI, from, to, COMMIT, wall, always)));
    const winners = racers.filter((_, i) => results[i] === 'committed');
    expect(results.filter((result) => result === 'lost')).toHaveLength(1_800);
    expect(winners.map(({ idI }) => idI).toSorted((a, b) => a - b)).toEqual(nodes.map(({ idI }) => idI));
    for (const { idI, to } of winners) expect(registry.node(idI)!.key.toHex()).toBe(to.toHex());
  });

  it('of one process and a racing one of another: one wins', async () => {
    const registry = await newRegistry();
    const nodes = Array.from({ length: 100 }, (_, i) => newNode(i, { key: numbered(i) }));
    await registry.addNodes(nodes, WALL);
    const other = new Child(
      withRegistry(`
        console.log('ready');
        const results = await Promise.all(Array.from({ length: 100 }, (_, i) =>
          registry.commit(i, numbered(i), numbered(2000 + i), commit, () => 0, () => true)));
        console.log(JSON.stringify(results));
        await registry.close();`),
      [registry.folder],
    );
    expect(await other.line()).toBe('ready');
    const ours = await Promise.all(
      nodes.map(({ idI, key }) => registry.commit(idI, key, numbered(1_000 + idI), COMMIT, wall, always)),
    );
    const theirs = JSON.parse((await other.line()) ?? '[]') as string[];
    for (const { idI } of nodes) {
      expect(new Set([ours[idI], theirs[idI]])).toEqual(new Set(['committed', 'lost']));
      expect(numberOf(registry.node(idI)?.key)).toBe(ours[idI] === 'committed' ? 1_000 + idI : 2_000 + idI);
    }
  });
});

describe('what is on the disk', () => {
  it('is seen by another process at once: keys, nodes and controllers', async () => {
    const registry = await newRegistry();
    await registry.addNodes([newNode(7, { key: numbered(0) })], WALL);
    const writer = new Child(
      withRegistry(`
        for (let i = 1; i <= 30; i++) {
          await registry.commit(7, numbered(i - 1), numbered(i), commit, () => 0, () => true);
          const nid = { host: '192.0.2.1', port: 5683 };
          await registry.addController({ idC: i, skCs: numbered(i), nid, servers: [], addedAt: 0 });
          await registry.addNodes([{ idI: 100 + i, key: numbered(i), initial: true, controller: i, disabled: false, lifetime: 0, grace: 0 }], 0);
          writeSync(1, i + '\\n');
        }
        await registry.close();`),
      [registry.folder],
    );
    for (let i = 1; i <= 30; i++) {
      // Reads as a server does that is busy: what an earlier read in the same turn saw must not be what this one sees.
      registry.node(7)?.key.wipe();
      registry.controller(i)?.skCs.wipe();
      expect(await writer.line()).toBe(String(i));
      expect(numberOf(registry.controller(i)?.skCs), `controller ${i}`).toBe(i);
      expect(numberOf(registry.node(100 + i)?.key), `node ${i}`).toBe(i);
      expect(numberOf(registry.node(7)?.key), `commit ${i}`).toBeGreaterThanOrEqual(i);
    }
  });

  it('is still there when the process is killed the moment a commit has resolved', async () => {
    const registry = await newRegistry();
    await registry.addNodes([newNode(7, { key: numbered(0) })], WALL);
    await registry.close();
    let before = 0;
    for (let round = 0; round < 5; round++) {
      const writer = new Child(
        withRegistry(`
          for (let i = Number(process.argv[2]);; i++) {
            if (await registry.commit(7, numbered(i), numbered(i + 1), commit, () => 0, () => true) !== 'committed') throw new Error('not committed');
            writeSync(1, (i + 1) + '\\n');
          }`),
        [registry.folder, String(before)],
      );
      let resolved = 0;
      for (let lines = 0; lines <= round; lines++) resolved = Number(await writer.line());
      await writer.kill('SIGKILL');
      const again = await Registry.open(registry.folder);
      before = numberOf(again.node(7)?.key);
      expect(before).toBeGreaterThanOrEqual(resolved);
      expect(again.node(7)).toMatchObject({ initial: false, lifetime: 3_600, committed: { tid: 1n } });
      await again.close();
    }
  });

  it('is read as often as wanted: a key that was wiped is wiped for its reader alone', async () => {
    const registry = await newRegistry();
    const [node, added] = [newNode(7), controller()];
    await registry.addNodes([node], WALL);
    await registry.addController(added);
    for (let i = 0; i < 3; i++) {
      const [read, of] = [registry.node(7)!, registry.controller(ID_C)!];
      expect([read.key.toHex(), of.skCs.toHex()]).toEqual([node.key.toHex(), added.skCs.toHex()]);
      read.key.wipe();
      of.skCs.wipe();
    }
    for (const { key } of registry.nodes()) expect(key.toHex()).toBe(node.key.toHex());
  });
});

describe('an order', () => {
  const order = { installer: 'Kim & Sons', idC: ID_C, count: 2, sharedKey: false, lifetime: 3_600, createdAt: WALL };

  it('is stored with its nodes, under numbers that count from 1', async () => {
    const registry = await newRegistry();
    expect(await registry.addOrder(order, [newNode(9), newNode(3)])).toBe(1);
    expect(await registry.addOrder({ ...order, installer: 'Ada' }, [newNode(5)])).toBe(2);
    expect(registry.order(1)).toEqual({ ...order, number: 1 });
    expect([...registry.nodes()].map(({ idI, order: number, addedAt }) => [idI, number, addedAt])).toEqual([
      [3, 1, WALL],
      [5, 2, WALL],
      [9, 1, WALL],
    ]);
  });

  it('of which an ID is taken is not stored, nor any of its nodes, while commits go on beside it', async () => {
    const registry = await newRegistry();
    const nodes = Array.from({ length: 50 }, (_, i) => newNode(1_000 + i));
    await registry.addNodes(nodes, WALL);
    const commits = nodes.map(({ idI, key }) => registry.commit(idI, key, newSecret(), COMMIT, wall, always));
    const bad = registry.addOrder(order, [newNode(1), newNode(2), newNode(1_000), newNode(2_000)]);
    const good = registry.addOrder(order, [newNode(3)]);
    await expect(bad).rejects.toMatchObject({ name: 'Failure', message: `node ${formatId(1_000)} was added meanwhile` });
    expect(await Promise.all(commits)).toEqual(nodes.map(() => 'committed'));
    expect(await good).toBe(1);
    expect([...registry.nodes()].map(({ idI }) => idI)).toEqual([3, ...nodes.map(({ idI }) => idI)]);
    expect(registry.order(2)).toBeUndefined();
  });

  it('of 10,000 nodes is stored whole', async () => {
    const registry = await newRegistry();
    await registry.addOrder(
      order,
      Array.from({ length: 10_000 }, (_, i) => newNode(i * 429_496)),
    );
    expect([...registry.nodes()]).toHaveLength(10_000);
  });
});

describe('import', () => {
  it('adds what is new, and leaves what is there with the same key and controller', async () => {
    const registry = await newRegistry();
    const there = newNode(7);
    expect(await registry.addNodes([there], WALL)).toEqual({ added: 1, unchanged: 0 });
    expect(await registry.addNodes([{ ...there, lifetime: 9 }, newNode(8)], WALL + 1)).toEqual({ added: 1, unchanged: 1 });
    expect(registry.node(7)).toMatchObject({ lifetime: 3_600, addedAt: WALL });
  });

  it('adds nothing where a node has another key, another controller, or has joined, and names those', async () => {
    const registry = await newRegistry();
    const [otherKey, otherController, joined] = [newNode(0xa1), newNode(0xb2), newNode(0xc3)];
    await registry.addNodes([otherKey, otherController, joined], WALL);
    await registry.commit(0xc3, joined.key, newSecret(), COMMIT, wall, always);
    const lines = [newNode(1), newNode(0xa1), { ...otherController, controller: 2 }, joined, newNode(0xffff_ffff)];
    await expect(registry.addNodes(lines, WALL)).rejects.toMatchObject({
      name: 'Failure',
      message: '3 of the nodes are in the registry with another key or controller: 000000a1, 000000b2, 000000c3',
      advice: expect.stringContaining('Nothing was changed') as string,
    });
    expect([...registry.nodes()].map(({ idI }) => idI)).toEqual([0xa1, 0xb2, 0xc3]);
  });

  it('names ten at most', async () => {
    const registry = await newRegistry();
    await registry.addNodes(
      Array.from({ length: 12 }, (_, i) => newNode(i)),
      WALL,
    );
    const again = registry.addNodes(
      Array.from({ length: 12 }, (_, i) => newNode(i)),
      WALL,
    );
    const { message } = (await again.catch((error: unknown) => error)) as Error;
    expect(message).toContain('12 of the nodes');
    expect(message.match(/[0-9a-f]{8}/g)).toHaveLength(10);
  });
});

describe('a controller', () => {
  it('is stored and listed, and its ID is taken then', async () => {
    const registry = await newRegistry();
    const [one, two] = [controller({ idC: 0xffff_ffff }), controller({ idC: 2, servers: [{ host: '::1', port: 5693 }] })];
    await registry.addController(one);
    await registry.addController(two);
    await expect(registry.addController(controller({ idC: 2 }))).rejects.toMatchObject({
      name: 'UsageFailure',
      message: 'controller 00000002 is in the registry already',
    });
    const listed = [...registry.controllers()];
    expect(listed.map(({ skCs }) => skCs.toHex())).toEqual([two.skCs.toHex(), one.skCs.toHex()]);
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
      await (await Registry.create(folder)).close();
    } finally {
      process.umask(before);
    }
    expect((await stat(join(folder, 'registry', 'data.mdb'))).mode & 0o777).toBe(0o600);
    closedAfter(await Registry.open(folder));
  });
});
