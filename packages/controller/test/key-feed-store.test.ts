// Proves that a controller's store follows the registry, whatever either went through: a join that
// was not stored, a store that is lost, a node disabled, removed, moved or reset, a registry that
// was restored, an auth-server or a disk that fails for a while.

import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { AuthServer } from '@latchkey/auth-server';
import { addController, enrol, moveNodes, NodeBatch, removeNodes, resetNode, setDisabled } from '@latchkey/operations';
import {
  decodeM12,
  deriveApplicationRoot,
  deriveKeyId,
  FIRST_CURSOR,
  type M13,
  sealFeedAnswer,
  Secret,
} from '@latchkey/protocol';
import { backup, Registry, restore } from '@latchkey/registry';
import type { ProcessTime } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { CapturedLog, mountTmpfs, tempFolder } from '@latchkey/test-support/fixtures';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { type AuthServerClient, InProcessAuthServerClient } from '../src/auth-server-client.js';
import type { KeyFeed } from '../src/key-feed.js';
import {
  FEED_INTERVAL_MS,
  ID_C,
  ID_I,
  MASTER,
  Network,
  type NetworkOptions,
  newApplicationRootStore,
  newSecret,
  openApplicationRootStore,
  TestNode,
} from './fixtures.js';

const OTHER_C = 2;

/** Asks, and goes on until an answer is complete. */
function follow(feed: KeyFeed): Promise<boolean> {
  feed.start();
  return feed.askNow();
}

function stopped(feed: KeyFeed): KeyFeed {
  onTestFinished(() => feed.stop());
  return feed;
}

/** What is given out of a node: its state, and KIDs of its generations. */
function givenOut(store: ApplicationRootStore, idI: number = ID_I): unknown[] | undefined {
  const keys = store.get(idI);
  return keys && [keys.state, keys.current?.keyId, ...keys.former.map(({ keyId }) => keyId)];
}

/** The same without former generations. */
function currentOf(store: ApplicationRootStore): unknown[] | undefined {
  return givenOut(store)?.slice(0, 2);
}

function keyIdOf(psk: Secret, idI: number = ID_I): string {
  return deriveKeyId(deriveApplicationRoot(psk, idI), idI);
}

/** A network whose node has joined twice; its key IDs, newest first. */
async function joinedTwice(options: NetworkOptions = {}): Promise<{ network: Network; node: TestNode; keyIds: string[] }> {
  const network = await Network.create(options);
  const node = new TestNode(network.ik);
  const keyIds: string[] = [];
  for (let i = 0; i < 2; i++) {
    await node.join(network);
    keyIds.unshift(keyIdOf(node.state.confirmed));
  }
  await network.applicationRoots.flushed();
  return { network, node, keyIds };
}

describe('the keys a controller gives out', () => {
  it('are the registry’s, though a join was never stored', async () => {
    const applicationRoots = await newApplicationRootStore();
    const put = applicationRoots.put.bind(applicationRoots);
    const { network, node } = await joinedTwice({ applicationRoots });
    applicationRoots.put = () => Promise.reject(new Failure('killed before it was written'));
    await node.join(network);
    applicationRoots.put = put;
    expect(givenOut(applicationRoots)).not.toContain(keyIdOf(node.state.confirmed));
    expect(await follow(network.keyFeed)).toBe(true);
    expect(currentOf(applicationRoots)).toEqual(['current', keyIdOf(node.state.confirmed)]);
    expect(applicationRoots.get(ID_I)?.current?.applicationRoot.toHex()).toBe(
      deriveApplicationRoot(node.state.confirmed, ID_I).toHex(),
    );
  });

  it('are the registry’s, though the whole store was lost', async () => {
    const { network, keyIds } = await joinedTwice();
    const [store, other] = [await newApplicationRootStore(), newSecret()];
    const feed = stopped(network.newKeyFeed(store));
    // What was another node's never was this controller's.
    await addController(network.registry, {
      idC: OTHER_C,
      skCs: newSecret(),
      nid: { host: '192.0.2.2', port: 5683 },
      servers: [],
      addedAt: network.now.wallMs,
    });
    const batch = new NodeBatch();
    batch.add(7, OTHER_C, other.expose(), 1);
    const terms = { kind: 'order', installer: 'Kim', idC: OTHER_C, sharedKey: false, lifetime: 0, grace: 0 } as const;
    await enrol(network.registry, { terms, batch });
    expect(await follow(feed)).toBe(true);
    expect([...store.all()].map(({ idI }) => idI)).toEqual([ID_I]);
    expect(givenOut(store)).toEqual(['current', keyIds[0]]);
  });

  it.each<[string, string | undefined, (registry: Registry) => Promise<unknown>]>([
    ['disabled', 'disabled', (registry) => setDisabled(registry, [ID_I], true)],
    ['removed', 'removed', (registry) => removeNodes(registry, [ID_I])],
    ['reset', 'initial', (registry) => resetNode(registry, ID_I, newSecret())],
    [
      'moved',
      'moved',
      async (registry) => {
        const nid = { host: '192.0.2.2', port: 5683 };
        await addController(registry, { idC: OTHER_C, skCs: newSecret(), nid, servers: [], addedAt: 0 });
        await moveNodes(registry, [ID_I], OTHER_C);
      },
    ],
  ])('are none, of no generation, once the node is %s', async (_, state, change) => {
    const { network, keyIds } = await joinedTwice();
    const changed: number[] = [];
    network.applicationRoots.onChange((idI) => changed.push(idI));
    expect(await follow(network.keyFeed)).toBe(true);
    expect(givenOut(network.applicationRoots)).toEqual(['current', ...keyIds]);
    expect(changed).toEqual([]);
    await change(network.registry);
    expect(await network.keyFeed.askNow()).toBe(true);
    expect(givenOut(network.applicationRoots)).toEqual([state, undefined]);
    expect(changed).toEqual([ID_I]);
  });

  it('are again once the node is enabled, and not what a late join says', async () => {
    const { network, keyIds } = await joinedTwice();
    await setDisabled(network.registry, [ID_I], true);
    await follow(network.keyFeed);
    const root = newSecret();
    const late = { idI: ID_I, tid: 1n, ts: 0n, nidI: new Uint8Array(18), applicationRoot: root, keyId: 'feedfeed', lifetime: 0 };
    await network.applicationRoots.put(late);
    expect(givenOut(network.applicationRoots)).toEqual(['disabled', undefined]);
    await setDisabled(network.registry, [ID_I], false);
    await network.keyFeed.askNow();
    expect(givenOut(network.applicationRoots)).toEqual(['current', keyIds[0]]);
  });

  it('are those of a registry that was restored, also where these are older', async () => {
    const { network, node, keyIds } = await joinedTwice();
    await follow(network.keyFeed);
    const [file, folder] = [join(await tempFolder(), 'backup.lkb'), await tempFolder()];
    await backup(network.registry, file);
    await node.join(network);
    await network.applicationRoots.flushed();
    expect(currentOf(network.applicationRoots)).toEqual(['current', keyIdOf(node.state.confirmed)]);
    await network.keyFeed.stop();
    const clock = (): typeof network.now => ({ ...network.now });
    await restore(file, { folder, master: Secret.from(MASTER.expose()), actor: 'test', replace: false, clock });
    const restored = await Registry.open(folder, Secret.from(MASTER.expose()), 'test', clock);
    const server = new AuthServer({ registry: restored, clock, randomBytes, log: new CapturedLog().log });
    onTestFinished(async () => {
      await server.close();
      await restored.close();
    });
    const feed = stopped(network.newKeyFeed(network.applicationRoots, new InProcessAuthServerClient(server)));
    expect(await follow(feed)).toBe(true);
    expect(currentOf(network.applicationRoots)).toEqual(['current', keyIds[0]]);
    expect(network.log.withMessage('the auth-server tells of all nodes again')).toHaveLength(1);
  });

  it('come from whichever server of the registry answers, in the middle of a walk too', async () => {
    const { network } = await joinedTwice();
    const batch = new NodeBatch();
    for (let idI = 1; idI <= 60; idI++) batch.add(idI, ID_C, randomBytes(16), idI);
    const terms = { kind: 'order', installer: 'Kim', idC: ID_C, sharedKey: false, lifetime: 0, grace: 0 } as const;
    await enrol(network.registry, { terms, batch });
    const clock = (): typeof network.now => ({ ...network.now });
    const other = await Registry.open(network.registry.folder, Secret.from(MASTER.expose()), 'test', clock);
    const [one, two] = [network.registry, other].map(
      (registry) => new AuthServer({ registry, clock, randomBytes, log: new CapturedLog().log }),
    ) as [AuthServer, AuthServer];
    onTestFinished(async () => {
      await Promise.all([one.close(), two.close()]);
      await other.close();
    });
    const servers = [one, two].map((server) => new InProcessAuthServerClient(server));
    let asked = 0;
    const inTurn: AuthServerClient = {
      request: (request, accept) => servers[asked++ % 2]!.request(request, accept),
      close: () => Promise.resolve(),
    };
    const store = await newApplicationRootStore();
    expect(await follow(stopped(network.newKeyFeed(store, inTurn)))).toBe(true);
    expect(asked).toBeGreaterThan(5);
    expect([...store.all()].map(({ state }) => state).toSorted()).toEqual(['current', ...Array(60).fill('initial')]);
  });

  it('no longer are those of nodes that a walk does not list', async () => {
    const { network } = await joinedTwice();
    const root = newSecret();
    const unknown = { idI: 99, tid: 1n, ts: 0n, nidI: new Uint8Array(18), applicationRoot: root, keyId: 'feedfeed', lifetime: 0 };
    await network.applicationRoots.put(unknown);
    expect(givenOut(network.applicationRoots, 99)).toEqual(['current', 'feedfeed']);
    expect(await follow(network.keyFeed)).toBe(true);
    expect(givenOut(network.applicationRoots, 99)).toEqual(['removed', undefined]);
  });
});

describe('a controller', () => {
  it('gives keys out as unverified until an answer is complete, and a minute after the last', async () => {
    const { network } = await joinedTwice();
    const verified = (): boolean | undefined => network.applicationRoots.get(ID_I)?.verified;
    expect(verified()).toBe(false);
    await follow(network.keyFeed);
    expect(verified()).toBe(true);
    network.now.monotonicMs += 60_001;
    expect(verified()).toBe(false);
    expect(network.keyFeed.fault()).toMatch(/has not confirmed the keys of the nodes for 60 s/);
    await network.keyFeed.askNow();
    expect([verified(), network.keyFeed.fault()]).toEqual([true, undefined]);
  });

  it('shows a command beside it whether the registry has confirmed the keys', async () => {
    const path = join(await tempFolder(), 'keys');
    const applicationRoots = await openApplicationRootStore(path);
    onTestFinished(() => applicationRoots.close());
    const { network } = await joinedTwice({ applicationRoots });
    const seen = async (later = 0): Promise<boolean | undefined> => {
      const now = (): number => network.now.wallMs + later;
      const store = await ApplicationRootStore.open(path, Secret.from(MASTER.expose()), { now });
      const verified = store.get(ID_I)?.verified;
      await store.close();
      return verified;
    };
    expect(await seen()).toBe(false);
    await follow(network.keyFeed);
    expect([await seen(), await seen(300_000)]).toEqual([true, false]);
  });

  it('says once that the auth-server does not answer, and that it does again', async () => {
    let isSilent = true;
    const { network } = await joinedTwice({
      authServer: (local) => ({
        request: (request, accept) =>
          isSilent && request[0] === 0x1c ? Promise.resolve(undefined) : local.request(request, accept),
        close: () => local.close(),
      }),
    });
    expect(await follow(network.keyFeed)).toBe(false);
    network.now.monotonicMs += 61_000;
    for (let i = 0; i < 3; i++) expect(await network.keyFeed.askNow()).toBe(false);
    const alarm = 'the auth-server has not confirmed the keys of the nodes for 61 s; they are given out as unverified';
    expect(network.log.withMessage(alarm)).toHaveLength(1);
    isSilent = false;
    expect(await network.keyFeed.askNow()).toBe(true);
    expect(network.log.withMessage('the auth-server has confirmed the keys of the nodes again')).toHaveLength(1);
  });

  it('asks again after the interval, and at once after a question that took longer', async () => {
    const { network } = await joinedTwice();
    const durations = [15_000, 2_000];
    let paused: (ms: number) => void = () => undefined;
    const firstPause = new Promise<number>((resolve) => (paused = resolve));
    const time: ProcessTime = {
      now: () => network.now.monotonicMs,
      pause: (ms, signal) => {
        paused(ms);
        return new Promise((resolve) => signal.addEventListener('abort', () => resolve()));
      },
    };
    const silent: AuthServerClient = {
      request: () => {
        network.now.monotonicMs += durations.shift() ?? 0;
        return Promise.resolve(undefined);
      },
      close: () => Promise.resolve(),
    };
    const feed = stopped(network.newKeyFeed(network.applicationRoots, silent, time));
    feed.start();
    expect(await firstPause).toBe(FEED_INTERVAL_MS - 2_000);
    expect(durations).toEqual([]);
  });

  it.each([
    [3_000, undefined, 10_000],
    [10_000, undefined, 13_000 - 834 * 10.5],
    [50_000, undefined, 4_000],
    [10_000, 10_000, 10_000],
  ])('that has %i nodes and an interval of %s ms asks every %d ms', async (nodeCount, intervalMs, expected) => {
    const { network } = await joinedTwice();
    const store = network.applicationRoots;
    vi.spyOn(store, 'nodeCount', 'get').mockReturnValue(nodeCount);
    const pauses: number[] = [];
    const paused = new Promise<void>((resolve) => {
      const time: ProcessTime = {
        now: () => network.now.monotonicMs,
        pause: (ms, signal) => {
          pauses.push(ms);
          resolve();
          return new Promise((end) => signal.addEventListener('abort', () => end()));
        },
      };
      stopped(network.newKeyFeed(store, undefined, time, intervalMs)).start();
    });
    await paused;
    expect(pauses).toEqual([expected]);
  });

  it('asks no more than 100 times in a second, however many pages there are', async () => {
    const { network } = await joinedTwice();
    const sentAt: number[] = [];
    const pauses: number[] = [];
    const time: ProcessTime = {
      now: () => network.now.monotonicMs,
      pause: (ms, signal) => {
        if (sentAt.length >= 400 && !signal.aborted) return new Promise((end) => signal.addEventListener('abort', () => end()));
        pauses.push(ms);
        network.now.monotonicMs += ms;
        return Promise.resolve();
      },
    };
    // One that never has told all.
    const endless: AuthServerClient = {
      request: (request, accept) => {
        sentAt.push(network.now.monotonicMs);
        network.now.monotonicMs += 1;
        const page: M13 = { cursor: 5n, more: true, entries: [] };
        const answer = accept(sealFeedAnswer(decodeM12(request), page, randomBytes(13), network.skCs));
        return Promise.resolve(answer);
      },
      close: () => Promise.resolve(),
    };
    const feed = stopped(network.newKeyFeed(network.applicationRoots, endless, time));
    feed.start();
    await vi.waitUntil(() => sentAt.length >= 400, { timeout: 60_000 });
    for (let i = 100; i < 400; i++) expect(sentAt[i]! - sentAt[i - 100]!).toBeGreaterThan(1_000);
    // It waits where the window is full, not between any two.
    expect(pauses.length).toBeLessThan(10);
  });

  it('gives out no key once it has run for max_unverified without an answer, over restarts, and then again', async () => {
    let isSilent = false;
    const path = join(await tempFolder(), 'keys');
    const { network, keyIds } = await joinedTwice({
      applicationRoots: await openApplicationRootStore(path),
      maxUnverifiedMs: 3_600_000,
      authServer: (local) => ({
        request: (request, accept) =>
          isSilent && request[0] === 0x1c ? Promise.resolve(undefined) : local.request(request, accept),
        close: () => local.close(),
      }),
    });
    expect(await follow(network.keyFeed)).toBe(true);
    isSilent = true;
    network.now.monotonicMs += 3_000_000;
    await network.keyFeed.askNow();
    expect(givenOut(network.applicationRoots)).toEqual(['current', ...keyIds]);
    await network.keyFeed.stop();
    await network.applicationRoots.close();

    // While the machine was off, a month passed by the wall clock. It does not count.
    network.now.wallMs += 30 * 86_400_000;
    const store = await openApplicationRootStore(path);
    onTestFinished(() => store.close());
    const feed = stopped(network.newKeyFeed(store));
    const changed: number[] = [];
    store.onChange((idI) => changed.push(idI));
    await follow(feed);
    expect(givenOut(store)?.[0]).toBe('current');
    expect(changed).toEqual([]);
    network.now.monotonicMs += 600_001;
    await feed.askNow();
    expect(givenOut(store)).toEqual(['withdrawn', undefined]);
    expect(changed).toEqual([ID_I]);
    expect(feed.fault()).toMatch(/longer than max_unverified; none is given out$/);
    const beside = await ApplicationRootStore.open(path, Secret.from(MASTER.expose()));
    expect(givenOut(beside)).toEqual(['withdrawn', undefined]);
    await beside.close();

    isSilent = false;
    await feed.askNow();
    expect(givenOut(store)?.slice(0, 2)).toEqual(['current', keyIds[0]]);
    expect(changed).toEqual([ID_I, ID_I]);
    expect([feed.fault(), store.feedProgress.unverifiedMs, store.feedProgress.isWithdrawn]).toEqual([undefined, 0, false]);
  });

  it('asks again for what its disk did not take', async () => {
    const { network, keyIds } = await joinedTwice();
    const store = await newApplicationRootStore();
    const applyPage = store.applyPage.bind(store);
    store.applyPage = () => Promise.reject(new Failure('the disk is full'));
    const feed = stopped(network.newKeyFeed(store));
    expect(await follow(feed)).toBe(false);
    expect(givenOut(store)).toBeUndefined();
    store.applyPage = applyPage;
    expect(await feed.askNow()).toBe(true);
    expect(givenOut(store)).toEqual(['current', keyIds[0]]);
  });

  it('writes no page after one that its disk did not take while the next was asked for', async () => {
    let failFirst: (() => void) | undefined;
    const { network, keyIds } = await joinedTwice({
      authServer: (local) => ({
        async request(request, accept) {
          failFirst?.();
          return local.request(request, accept);
        },
        close: () => local.close(),
      }),
    });
    const store = await newApplicationRootStore();
    const applyPage = store.applyPage.bind(store);
    store.applyPage = () => {
      store.applyPage = applyPage;
      return new Promise((_, reject) => {
        failFirst = () => reject(new Failure('the disk is full'));
      });
    };
    const feed = stopped(network.newKeyFeed(store));
    expect(await follow(feed)).toBe(false);
    expect(store.feedProgress.cursor).toBe(FIRST_CURSOR);
    expect(await feed.askNow()).toBe(true);
    expect(givenOut(store)).toEqual(['current', keyIds[0]]);
  });

  it('goes on where it was after a restart, and learns what changed meanwhile', async () => {
    const path = join(await tempFolder(), 'keys');
    const before = await openApplicationRootStore(path);
    const { network } = await joinedTwice({ applicationRoots: before });
    await follow(network.keyFeed);
    await network.keyFeed.stop();
    const { cursor } = before.feedProgress;
    await before.close();
    await setDisabled(network.registry, [ID_I], true);
    const after = await openApplicationRootStore(path);
    onTestFinished(() => after.close());
    expect(after.feedProgress.cursor).toBe(cursor);
    expect(currentOf(after)?.[0]).toBe('current');
    expect(await follow(stopped(network.newKeyFeed(after)))).toBe(true);
    expect(givenOut(after)).toEqual(['disabled', undefined]);
  });

  it('serves a former key until its overlap is over, then forgets it; a removed node for a minute', async () => {
    let now = 4_000_000_000_000;
    const path = join(await tempFolder(), 'keys');
    const applicationRoots = await ApplicationRootStore.open(path, Secret.from(MASTER.expose()), {
      overlapMs: 5_000,
      now: () => now,
    });
    onTestFinished(() => applicationRoots.close());
    const { network, keyIds } = await joinedTwice({ applicationRoots });
    expect(givenOut(applicationRoots)).toEqual(['current', ...keyIds]);
    now += 5_000;
    expect(givenOut(applicationRoots)).toEqual(['current', keyIds[0]]);
    await applicationRoots.forgetOld();
    now -= 5_000;
    expect(givenOut(applicationRoots)).toEqual(['current', keyIds[0]]);
    await removeNodes(network.registry, [ID_I]);
    await follow(network.keyFeed);
    now += 59_999;
    await applicationRoots.forgetOld();
    expect(givenOut(applicationRoots)).toEqual(['removed', undefined]);
    now += 1;
    await applicationRoots.forgetOld();
    expect(givenOut(applicationRoots)).toBeUndefined();
  });

  it('forgets former keys once its disk has room again, if it was full when they were over', async ({ skip }) => {
    const mount = join(await tempFolder(), 'mount');
    if (!(await mountTmpfs(mount, '8m'))) skip('nothing can be mounted');
    let now = 4_000_000_000_000;
    const applicationRoots = await ApplicationRootStore.open(join(mount, 'keys'), newSecret(), {
      overlapMs: 5_000,
      now: () => now,
    });
    const ids = Array.from({ length: 4_000 }, (_, i) => i + 1);
    for (const tid of [1n, 2n])
      await Promise.all(
        ids.map((idI) =>
          applicationRoots.put({
            idI,
            nidI: new Uint8Array(18),
            ts: BigInt(now),
            lifetime: 60,
            tid,
            applicationRoot: newSecret(),
            keyId: `0000000${tid}`,
          }),
        ),
      );
    const nodesWithFormer = (): number => {
      now -= 5_000;
      const found = ids.filter((idI) => (givenOut(applicationRoots, idI)?.length ?? 0) > 2).length;
      now += 5_000;
      return found;
    };
    const filler = join(mount, 'filler');
    spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=4k']);
    now += 5_000;
    await expect(applicationRoots.forgetOld()).rejects.toThrow('cannot write');
    expect(nodesWithFormer()).toBe(ids.length);
    await rm(filler);
    await applicationRoots.forgetOld();
    expect(nodesWithFormer()).toBe(0);
    await applicationRoots.close();
  });

  it('serves a former key no longer than until its own expiry', async () => {
    let now = 4_000_000_000_000;
    const path = join(await tempFolder(), 'keys');
    const applicationRoots = await ApplicationRootStore.open(path, Secret.from(MASTER.expose()), { now: () => now });
    onTestFinished(() => applicationRoots.close());
    const joined = { idI: ID_I, nidI: new Uint8Array(18), ts: BigInt(now), lifetime: 60 };
    await applicationRoots.put({ ...joined, tid: 1n, applicationRoot: newSecret(), keyId: '00000001' });
    await applicationRoots.put({ ...joined, tid: 2n, applicationRoot: newSecret(), keyId: '00000002', lifetime: 0 });
    now += 60_000;
    expect(givenOut(applicationRoots)).toEqual(['current', '00000002', '00000001']);
    now += 1;
    expect(givenOut(applicationRoots)).toEqual(['current', '00000002']);
  });

  it('has former keys under another master key, too', async () => {
    const folder = await tempFolder();
    const path = join(folder, 'keys');
    const [applicationRoots, second] = [await openApplicationRootStore(path), newSecret()];
    const { keyIds } = await joinedTwice({ applicationRoots });
    const roots = applicationRoots.get(ID_I)!.former.map(({ applicationRoot }) => applicationRoot.toHex());
    const next = { path: '/nowhere', key: Secret.from(second.expose()), install: () => Promise.resolve() };
    expect(await applicationRoots.rotate(folder, next)).toBe(1);
    await applicationRoots.close();
    const again = await openApplicationRootStore(path, second);
    onTestFinished(() => again.close());
    expect(givenOut(again)).toEqual(['current', ...keyIds]);
    expect(again.get(ID_I)?.former.map(({ applicationRoot }) => applicationRoot.toHex())).toEqual(roots);
  });
});
