// Proves that an auth-server's key sockets give out what its registry has: former keys after a
// restart too, nothing of a node that was revoked, through a restore and another master key; and
// that a use is in the audit log before the first key is read.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { addController, moveNodes, removeNodes, resetNode, setDisabled } from '@latchkey/operations';
import { deriveApplicationKey, deriveApplicationRoot, deriveKeyId, type Secret } from '@latchkey/protocol';
import { allOf, backup, Registry, restore, rotateMasterKey } from '@latchkey/registry';
import { readClock } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { lockFolder } from '@latchkey/runtime/files';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import {
  addNodes,
  closedAfter,
  COMMIT,
  controller,
  copyOf,
  MASTER,
  newNode,
  newRegistry,
  newSecret,
} from '@latchkey/test-support/registry-fixtures';
import { expect, it, onTestFinished } from 'vitest';
import { startKeySockets } from '../src/key-sockets.js';
import { AuthServer } from '../src/server/auth-server.js';
import { RegistryKeys } from '../src/server/registry-keys.js';

const DEADLINE = { timeout: 120_000, interval: 20 };
const LABEL = 'mqtt-psk';

/** A registry whose nodes 1 to `count` have joined, and their keys. */
async function registryOf(count: number): Promise<{ registry: Registry; keys: Map<number, Secret> }> {
  const registry = await newRegistry();
  await addController(registry, controller());
  // The last one never joins.
  await addNodes(
    registry,
    Array.from({ length: count + 1 }, (_, i) => newNode(i + 1)),
  );
  const ids = Array.from({ length: count }, (_, i) => i + 1);
  const keys = await Promise.all(ids.map(async (idI) => [idI, await join1(registry, idI)] as const));
  return { registry, keys: new Map(keys) };
}

/** The node joins, or renews its key. */
async function join1(registry: Registry, idI: number): Promise<Secret> {
  const node = await registry.node(idI);
  if (node === undefined) throw new Error('no such node');
  const to = newSecret();
  const commit = { ...COMMIT, idC: node.controller, tid: (node.committed?.tid ?? 0n) + 1n, ts: Date.now() };
  expect(await registry.commit(node, copyOf(to), commit, Date.now, () => true)).toBe('committed');
  return to;
}

function keyIdOf(key: Secret | undefined, idI: number): string {
  if (key === undefined) throw new Error('no key');
  return deriveKeyId(deriveApplicationRoot(key, idI), idI);
}

interface Follower {
  readonly store: ApplicationRootStore;
  stop(): Promise<void>;
}

async function follow(
  registry: Registry,
  path: string,
  prepare: (store: ApplicationRootStore) => void = () => undefined,
): Promise<Follower> {
  const store = await ApplicationRootStore.open(path, registry.keyring);
  prepare(store);
  const keys = new RegistryKeys({ registry, store, clock: readClock, log: new CapturedLog().log });
  registry.beforeAdoption = () => store.followMasterKey();
  keys.start();
  let isStopped = false;
  const stop = async (): Promise<void> => {
    if (isStopped) return;
    isStopped = true;
    registry.beforeAdoption = () => Promise.resolve();
    await keys.stop();
    await store.close();
  };
  onTestFinished(stop);
  return { store, stop };
}

/** State and KIDs of a node, newest first. */
function givenOut({ store }: Follower, idI: number): readonly unknown[] | undefined {
  const keys = store.get(idI);
  return (
    keys && [keys.state, ...[...(keys.current === undefined ? [] : [keys.current]), ...keys.former].map(({ keyId }) => keyId)]
  );
}

it('gives out the keys of all nodes that have joined, and former ones after a restart', async () => {
  const { registry, keys } = await registryOf(300);
  const path = join(await tempFolder(), 'roots');
  const first = await follow(registry, path);
  await first.store.completed();
  expect([...first.store.all()].map(({ idI }) => idI)).toEqual([...keys.keys()]);
  const renewed = await join1(registry, 7);
  const both = ['current', keyIdOf(renewed, 7), keyIdOf(keys.get(7), 7)];
  await expect.poll(() => givenOut(first, 7), DEADLINE).toEqual(both);
  await first.stop();
  const again = await follow(registry, path);
  await again.store.completed();
  expect(givenOut(again, 7)).toEqual(both);
  await expect.poll(() => again.store.get(7)?.verified, DEADLINE).toBe(true);
});

it('begins again where the disk does not take the first of several pages', async () => {
  const { registry, keys } = await registryOf(1);
  await addNodes(
    registry,
    Array.from({ length: 300 }, (_, i) => newNode(i + 10)),
  );
  const unhandled: unknown[] = [];
  const note = (reason: unknown): void => void unhandled.push(reason);
  process.on('unhandledRejection', note);
  onTestFinished(() => void process.off('unhandledRejection', note));
  let failures = 0;
  const follower = await follow(registry, join(await tempFolder(), 'roots'), (store) => {
    const applyPage = store.applyPage.bind(store);
    store.applyPage = (...page) => {
      if (failures > 0) return applyPage(...page);
      failures += 1;
      return Promise.reject(new Failure('the disk is full'));
    };
  });
  await follower.store.completed();
  expect(failures).toBe(1);
  expect(unhandled).toEqual([]);
  expect(givenOut(follower, 1)).toEqual(['current', keyIdOf(keys.get(1), 1)]);
});

it('gives out no key of a node that was revoked, also while it did not run', async () => {
  const { registry, keys } = await registryOf(4);
  await addController(registry, controller({ idC: 2 }));
  const path = join(await tempFolder(), 'roots');
  const first = await follow(registry, path);
  await expect.poll(() => givenOut(first, 4), DEADLINE).toEqual(['current', keyIdOf(keys.get(4), 4)]);
  await setDisabled(registry, [1], true);
  await removeNodes(registry, [2]);
  await expect.poll(() => [givenOut(first, 1), givenOut(first, 2)], DEADLINE).toEqual([['disabled'], ['removed']]);
  await first.stop();
  await resetNode(registry, 3, newSecret());
  await moveNodes(registry, [4], 2);
  await setDisabled(registry, [1], false);
  const again = await follow(registry, path);
  await expect.poll(() => givenOut(again, 3), DEADLINE).toEqual(['initial']);
  // All nodes of the registry are here, whichever controller they are assigned to.
  await expect
    .poll(() => [givenOut(again, 4), givenOut(again, 1)], DEADLINE)
    .toEqual([4, 1].map((idI) => ['current', keyIdOf(keys.get(idI), idI)]));
});

it('catches up with a long log in few writes, and gives out what the last of its entries left', async () => {
  const { registry, keys } = await registryOf(1);
  const path = join(await tempFolder(), 'roots');
  const first = await follow(registry, path);
  await expect.poll(() => givenOut(first, 1), DEADLINE).toEqual(['current', keyIdOf(keys.get(1), 1)]);
  await first.stop();
  const head = await registry.audit.readHead();
  await setDisabled(registry, [1], true);
  await Promise.all(Array.from({ length: 4_200 }, () => registry.record({ what: 'keys fetched' })));
  await setDisabled(registry, [1], false);
  await Promise.all(Array.from({ length: 100 }, () => registry.record({ what: 'keys fetched' })));
  await setDisabled(registry, [1], true);
  const cursors: number[] = [];
  const again = await follow(registry, path, (store) => {
    const applyPage = store.applyPage.bind(store);
    store.applyPage = (page, progress) => {
      cursors.push(Number(progress.cursor >> 256n) - head!.seq);
      return applyPage(page, progress);
    };
  });
  await expect.poll(() => again.store.get(1)?.verified, DEADLINE).toBe(true);
  expect(givenOut(again, 1)).toEqual(['disabled']);
  expect(cursors).toEqual([4_096, 4_303]);
});

it('gives out no key of a node that was revoked by an entry that is pruned while it follows the log', async () => {
  const { registry, keys } = await registryOf(1);
  const path = join(await tempFolder(), 'roots');
  const first = await follow(registry, path);
  await expect.poll(() => givenOut(first, 1), DEADLINE).toEqual(['current', keyIdOf(keys.get(1), 1)]);
  await first.stop();
  const record300 = (): Promise<unknown> =>
    Promise.all(Array.from({ length: 300 }, () => registry.record({ what: 'keys fetched' })));
  await record300();
  await setDisabled(registry, [1], true);
  await record300();
  const head = await registry.audit.readHead();
  const { audit } = registry;
  const entryPages = audit.entryPages.bind(audit);
  // The first page, up to an entry before the revocation, has been read by then.
  audit.entryPages = async function* (from) {
    let isPruned = false;
    for await (const page of entryPages(from)) {
      yield page;
      if (!isPruned) await registry.pruneAudit(head!.seq - 10, 'elsewhere');
      isPruned = true;
    }
  };
  const again = await follow(registry, path);
  await expect.poll(() => givenOut(again, 1), DEADLINE).toEqual(['disabled']);
});

it('gives out what a restored registry has, though its log goes on with other entries', async () => {
  const { registry, keys } = await registryOf(2);
  const file = join(await tempFolder(), 'registry.lkb');
  await backup(registry, file);
  const path = join(await tempFolder(), 'roots');
  const first = await follow(registry, path);
  const renewed = await join1(registry, 1);
  await setDisabled(registry, [2], true);
  await expect
    .poll(() => [givenOut(first, 1), givenOut(first, 2)], DEADLINE)
    .toEqual([['current', keyIdOf(renewed, 1), keyIdOf(keys.get(1), 1)], ['disabled']]);
  await first.stop();
  await registry.close();
  const folder = await tempFolder();
  await restore(file, { folder, master: copyOf(MASTER), actor: 'test', replace: false, clock: readClock });
  const restored = closedAfter(await Registry.open(folder, copyOf(MASTER), 'test'));
  // As many entries as there were, and more.
  for (let i = 0; i < 4; i++) await restored.record({ what: 'keys fetched' });
  const again = await follow(restored, path);
  await expect
    .poll(() => [again.store.get(1)?.current?.keyId, givenOut(again, 2)], DEADLINE)
    .toEqual([keyIdOf(keys.get(1), 1), ['current', keyIdOf(keys.get(2), 2)]]);
});

it('opens under another master key of its registry, and begins again where none of its own opens it', async () => {
  const { registry, keys } = await registryOf(2);
  const path = join(await tempFolder(), 'roots');
  const first = await follow(registry, path);
  const renewed = await join1(registry, 1);
  const both = ['current', keyIdOf(renewed, 1), keyIdOf(keys.get(1), 1)];
  await expect.poll(() => givenOut(first, 1), DEADLINE).toEqual(both);
  const lock = await lockFolder(registry.folder, 'latchkey-auth-server run');
  const [other, second] = [closedAfter(await Registry.open(registry.folder, copyOf(MASTER), 'test')), newSecret()];
  const rotated = rotateMasterKey(other, { path: 'unused', key: copyOf(second), install: () => Promise.resolve() });
  // As a server does every second; it holds the folder meanwhile.
  const adopting = setInterval(() => void registry.announceAdoption(), 20);
  await rotated;
  clearInterval(adopting);
  await lock.release();
  expect(givenOut(first, 1)).toEqual(both);
  await first.stop();
  await registry.close();
  const reopened = closedAfter(await Registry.open(registry.folder, copyOf(second), 'test'));
  const again = await follow(reopened, path);
  expect(givenOut(again, 1)).toEqual(both);
  await again.stop();
  const { registry: foreign, keys: theirs } = await registryOf(1);
  const third = await follow(foreign, path);
  expect(givenOut(third, 2)).toBeUndefined();
  await expect.poll(() => givenOut(third, 1), DEADLINE).toEqual(['current', keyIdOf(theirs.get(1), 1)]);
});

it('writes into the audit log who gets keys before the first key leaves, once a day', async () => {
  const { registry, keys } = await registryOf(1);
  const folder = await tempFolder();
  const log = new CapturedLog();
  const server = new AuthServer({ registry, clock: readClock, randomBytes: () => new Uint8Array(16), log: log.log });
  onTestFinished(() => server.close());
  const socket = join(folder, 'keys.sock');
  const settings = [{ socket, mode: 0o600, labels: [LABEL] }];
  const sockets = await startKeySockets({
    registry,
    server,
    clock: readClock,
    folder,
    settings,
    overlapMs: 60_000,
    log: log.log,
  });
  onTestFinished(() => sockets.stop());
  const fetches = async (): Promise<unknown[]> =>
    (await allOf(registry.audit.entryPages())).filter(({ what }) => what === 'keys fetched').map(({ note }) => note);
  const note = `application keys for ${LABEL}, by user ${process.geteuid?.()} through ${socket}`;
  const record = registry.record.bind(registry);
  registry.record = () => Promise.reject(new Error('the disk is gone'));
  expect(await answers(socket)).toEqual([{ error: 'the use of the keys cannot be noted now', code: 'unavailable' }]);
  let isRecorded = false;
  registry.record = async (event) => {
    await record(event);
    isRecorded = true;
  };
  const [keyLine] = await answers(socket, () => expect(isRecorded).toBe(true));
  const root = deriveApplicationRoot(keys.get(1)!, 1);
  expect(keyLine).toMatchObject({
    event: 'key',
    id: '00000001',
    keys: { [LABEL]: Buffer.from(deriveApplicationKey(root, LABEL, 1)).toString('hex') },
  });
  expect(await fetches()).toEqual([note]);
  await answers(socket);
  expect(await fetches()).toEqual([note]);
});

/** All lines of a subscription, up to `synced` or the end of the connection. */
async function answers(path: string, onLine: () => void = () => undefined): Promise<unknown[]> {
  const socket: Socket = connect(path);
  await once(socket, 'connect');
  socket.write(`${JSON.stringify({ subscribe: [LABEL] })}\n`);
  const lines: unknown[] = [];
  for await (const text of createInterface({ input: socket })) {
    onLine();
    const line = JSON.parse(text) as { event?: string };
    lines.push(line);
    if (line.event === 'synced') break;
  }
  socket.destroy();
  return lines;
}
