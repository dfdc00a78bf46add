// Proves that the master key of a registry that is in use is replaced without losing a key or a
// commit, however often the command is killed.

import { allOf } from '@latchkey/registry';
import { createDecipheriv } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { lockFolder } from '@latchkey/runtime/files';
import { type NextMasterKey, nextMasterKey, readMasterKey } from '@latchkey/keyring';
import { describe, expect, it } from 'vitest';
import { collected, Child, tempFolder } from '@latchkey/test-support/fixtures';
import { backup } from '../src/backup/backup.js';
import { restore } from '../src/backup/restore.js';
import { addController, stageControllerKey } from '@latchkey/operations';
import { Registry } from '../src/registry.js';
import { rotateMasterKey } from '../src/master-key-rotation.js';
import {
  addNodes,
  closedAfter,
  commitTo,
  controller,
  copyOf,
  MASTER,
  newNode,
  newRegistry,
  newSecret,
  numbered,
  numberOf,
  openRegistry,
  withRegistry,
} from '@latchkey/test-support/registry-fixtures';

/** Of node k in the child that serves, as long as nobody else commits. */
const SERVED = 40;

function openUnder(folder: string, master: Secret): Promise<Registry> {
  return Registry.open(folder, copyOf(master), 'test').then(closedAfter);
}

/** A next master key that stands in no file. */
function next(key: Secret): NextMasterKey {
  return { path: '/nowhere', key: copyOf(key), install: () => Promise.resolve() };
}

/** Whether a sealed key opens under a master key, by another implementation. */
function opensUnder(master: Secret, sealed: Uint8Array): boolean {
  const cipher = createDecipheriv('id-aes128-wrap', master.expose(), Buffer.alloc(8, 0xa6));
  try {
    cipher.update(sealed.subarray(1));
    cipher.final();
    return true;
  } catch {
    return false;
  }
}

/** The master keys that are kept beside a file of one, oldest first. */
async function archivedKeysBeside(path: string): Promise<Secret[]> {
  const names = (await readdir(dirname(path))).filter((name) => name.startsWith(`${basename(path)}.before-`));
  return Promise.all(names.toSorted().map((name) => readMasterKey({ kind: 'file', path: join(dirname(path), name) })));
}

async function until(holds: () => boolean): Promise<void> {
  for (let looks = 0; !holds(); looks++) {
    if (looks > 40_000) throw new Error('it does not go on');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Every sealed key in the registry's rows. */
function sealedKeys({ tables }: Registry): Uint8Array[] {
  tables.refreshSnapshot();
  const keys = Array.from(tables.nodes.getRange(), ({ value }) => value.key);
  for (const { value } of tables.controllers.getRange()) {
    keys.push(value.skCs);
    if (value.stagedSkCs !== undefined) keys.push(value.stagedSkCs);
  }
  return [...keys, tables.metadata.get('initial key id key') as Uint8Array];
}

function expectAllUnder(registry: Registry, master: Secret, notUnder: Secret): void {
  const keys = sealedKeys(registry);
  expect(keys.filter((sealed) => opensUnder(notUnder, sealed))).toHaveLength(0);
  expect(keys.filter((sealed) => !opensUnder(master, sealed))).toHaveLength(0);
}

/**
 * A registry of `count` nodes with the keys of their numbers, and a controller that is to have
 * another SK_cs.
 */
async function registryOf(count: number): Promise<Registry> {
  const registry = await newRegistry();
  await addController(registry, controller({ skCs: numbered(70_001) }));
  await stageControllerKey(registry, 1, numbered(70_002));
  await addNodes(
    registry,
    Array.from({ length: count }, (_, i) => newNode(i, { key: numbered(i) })),
  );
  return registry;
}

/**
 * A process that serves: it holds the lock of the folder, follows the master key, commits all the
 * while, and says each that is done.
 */
function server(folder: string): Child {
  return new Child(
    withRegistry(`
      const { lockFolder } = await import(${JSON.stringify(new URL('../../runtime/dist/files/index.js', import.meta.url).href)});
      const lock = await lockFolder(process.argv[1], 'latchkey-auth-server run');
      await registry.announceAdoption();
      setInterval(() => registry.announceAdoption(), 200);
      for (let i = 1; ; i++) {
        // It leaves the processor to those whom it is to disturb.
        await new Promise((resolve) => setTimeout(resolve, 2));
        const k = i % ${SERVED};
        if (await commitAs(k, numbered(100000 + i)) !== 'committed') throw new Error('conflict');
        if ((await registry.controller(1)) === undefined) throw new Error('no controller');
        say(i);
      }`),
    [folder],
  );
}

describe('another master key', () => {
  it('takes over every key, and the one before opens nothing any more', async () => {
    const [registry, second] = [await registryOf(300), newSecret()];
    const { folder } = registry;
    const progress: number[] = [];
    await rotateMasterKey(registry, next(second), (done) => progress.push(done));
    expect(progress.at(-1)).toBe(300);
    expectAllUnder(registry, second, MASTER);
    for (const one of [registry, await openUnder(folder, second)]) {
      for (let i = 0; i < 300; i++) expect(numberOf((await one.node(i))?.key)).toBe(i);
      expect([numberOf((await one.controller(1))?.skCs), numberOf((await one.controller(1))?.stagedSkCs)]).toEqual([
        70_001, 70_002,
      ]);
      expect(await commitTo(one, await one.node(7), numbered(7))).toBe('committed');
    }
    await expect(openRegistry(folder)).rejects.toMatchObject({ name: 'UsageFailure' });
    const log = (await allOf(registry.audit.entryPages())).filter(({ what }) => what.startsWith('master key'));
    expect(log).toMatchObject([
      { what: 'master key rotation started', key: second.fingerprint },
      { what: 'master key rotated', key: second.fingerprint },
    ]);
    expect(await collected(registry.audit.verify())).toEqual([]);
  });

  it('keeps the fingerprints by which IKs are told apart', async () => {
    const registry = await registryOf(10);
    const before = (await registry.node(3))?.ik.id;
    await rotateMasterKey(registry, next(newSecret()));
    await addNodes(registry, [newNode(99, { key: numbered(3) })]);
    expect([(await registry.node(3))?.ik.id, (await registry.node(99))?.ik.id]).toEqual([before, before]);
  });

  it('is followed by another process that has the registry open', async () => {
    const registry = await registryOf(50);
    const [other, second] = [await openRegistry(registry.folder), newSecret()];
    expect(numberOf((await other.node(1))?.key)).toBe(1);
    const rotating = rotateMasterKey(registry, next(second));
    while (!other.tables.keyring.isRotating) await other.announceAdoption();
    await rotating;
    expect(await commitTo(other, await other.node(2), numbered(1_002))).toBe('committed');
    expect([numberOf((await other.node(1))?.key), numberOf((await registry.node(2))?.key)]).toEqual([1, 1_002]);
    expectAllUnder(registry, second, MASTER);
  });

  it('that was begun is gone on with, and another is refused meanwhile', async () => {
    const [registry, second, third] = [await registryOf(50), newSecret(), newSecret()];
    const stuck = next(second);
    const crash = { ...stuck, install: () => Promise.reject(new RangeError('killed')) };
    await expect(rotateMasterKey(registry, crash)).rejects.toThrow('killed');
    for (const master of [MASTER, second])
      expect(numberOf((await (await openUnder(registry.folder, master)).node(7))?.key)).toBe(7);
    await expect(rotateMasterKey(registry, next(third))).rejects.toMatchObject({ name: 'UsageFailure' });
    await rotateMasterKey(registry, next(second));
    expectAllUnder(registry, second, MASTER);
    expect((await allOf(registry.audit.entryPages())).filter(({ what }) => what === 'master key rotation started')).toHaveLength(
      1,
    );
    await rotateMasterKey(registry, next(third));
    expectAllUnder(registry, third, second);
  });

  it('is gone on with by the same command, wherever that was killed', async () => {
    const registry = await registryOf(50);
    const source = { kind: 'file', path: join(registry.folder, 'master.key') } as const;
    await writeFile(source.path, `${MASTER.toHex()}\n`, { mode: 0o600 });
    const first = await nextMasterKey(source, undefined, registry.tables.keyring);
    const killed = {
      ...first,
      async install() {
        await first.install();
        throw new RangeError('killed');
      },
    };
    await expect(rotateMasterKey(registry, killed)).rejects.toThrow('killed');
    const again = await openUnder(registry.folder, await readMasterKey(source));
    await rotateMasterKey(again, await nextMasterKey(source, undefined, again.tables.keyring));
    expectAllUnder(again, await readMasterKey(source), MASTER);
    expect((await archivedKeysBeside(source.path)).map((key) => key.equals(MASTER))).toEqual([true]);
  });

  it('is not the end of the old one while a server that runs has not taken it up', async () => {
    const [registry, second] = [await registryOf(10), newSecret()];
    const lock = await lockFolder(registry.folder, 'latchkey-auth-server run');
    // This one looks, but a little later.
    const late = await openRegistry(registry.folder);
    await late.announceAdoption();
    let rotated = false;
    const rotating = rotateMasterKey(registry, next(second)).finally(() => (rotated = true));
    await until(() => registry.tables.keyring.isRotating && !sealedKeys(registry).some((sealed) => opensUnder(MASTER, sealed)));
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(rotated).toBe(false);
    expect(numberOf((await (await openRegistry(registry.folder)).node(1))?.key)).toBe(1);
    await late.announceAdoption();
    await rotating;
    expect(numberOf((await late.node(1))?.key)).toBe(1);
    await expect(openRegistry(registry.folder)).rejects.toMatchObject({ name: 'UsageFailure' });
    await lock.release();
  });

  it('opens no backup that was made before it', async () => {
    const [registry, second] = [await registryOf(10), newSecret()];
    const file = join(await tempFolder(), 'registry.lkb');
    await backup(registry, file);
    await rotateMasterKey(registry, next(second));
    const to = (master: Secret): Promise<unknown> =>
      tempFolder().then((folder) => restore(file, { folder, master: copyOf(master), actor: 'test', replace: false }));
    await expect(to(second)).rejects.toMatchObject({ name: 'UsageFailure' });
    await expect(to(MASTER)).resolves.toMatchObject({ nodes: 10 });
  });
});

describe('while a server commits', () => {
  it('10,000 keys are sealed anew by a command that is killed again and again, and nothing is lost', async () => {
    const registry = await registryOf(10_000);
    const { folder } = registry;
    await registry.close();
    const keyFile = join(folder, 'master.key');
    await writeFile(keyFile, `${MASTER.toHex()}\n`, { mode: 0o600 });
    const serving = server(folder);
    const said = { last: 0 };
    const reading = (async (): Promise<void> => {
      for (let line = await serving.line(); line !== undefined; line = await serving.line()) {
        expect(Number(line)).toBe(said.last + 1);
        said.last += 1;
      }
    })();
    await until(() => said.last > 0);
    let kills = 0;
    for (let round = 0; ; round++) {
      const before = said.last;
      const command = new Child(
        withRegistry(
          `say('ready');
           // The first is killed whatever this machine does in the meantime.
           if (process.argv[2] === '0') setImmediate(() => process.kill(process.pid, 'SIGKILL'));
           await rotateMasterKey(registry, await nextMasterKey(source, undefined, registry.tables.keyring));
           await registry.close();`,
          keyFile,
        ),
        [folder, String(round)],
      );
      expect(await command.line()).toBe('ready');
      // Longer and longer, so that it ends some time.
      const timer = setTimeout(() => void command.kill('SIGKILL'), Math.random() * 30 * 1.5 ** round);
      const { code } = await command.exited;
      clearTimeout(timer);
      if (code === 0) break;
      kills += 1;
      expect(code).toBeNull();
      // It goes on.
      await until(() => said.last > before);
    }
    expect(kills).toBeGreaterThan(0);
    const second = Secret.fromHex((await readFile(keyFile, 'utf8')).trim());
    expect(second.equals(MASTER)).toBe(false);
    // The server goes on under the new one.
    const enough = said.last + 2 * SERVED;
    await until(() => said.last > enough);
    await serving.kill('SIGKILL');
    await reading;

    // Each that was in use is kept, MASTER first: a command killed at its very end was followed by
    // one that did it once more.
    const kept = await archivedKeysBeside(keyFile);
    expect(kept[0]?.equals(MASTER)).toBe(true);

    const after = await openUnder(folder, second);
    await expect(openRegistry(folder)).rejects.toMatchObject({ name: 'UsageFailure' });
    expectAllUnder(after, second, MASTER);
    expect(await allOf(after.nodePages())).toHaveLength(10_000);
    const others = Array.from({ length: 10_000 - SERVED }, (_, i) => SERVED + i);
    for (const i of others) expect(numberOf((await after.node(i))?.key)).toBe(i);
    for (let k = 0; k < SERVED; k++) {
      const acknowledged = 100_000 + said.last - ((((said.last - k) % SERVED) + SERVED) % SERVED);
      expect([acknowledged, acknowledged + SERVED]).toContain(numberOf((await after.node(k))?.key));
    }
    expect(await collected(after.audit.verify())).toEqual([]);
    // A command that was killed as it ended had done it; the one after that did it once more.
    const changes = (await allOf(after.audit.entryPages()))
      .map(({ what }) => what)
      .filter((what) => what.startsWith('master key'));
    expect(changes).toEqual(changes.map((_, i) => (i % 2 === 0 ? 'master key rotation started' : 'master key rotated')));
    expect(changes).toHaveLength(2 * kept.length);
  }, 900_000);
});
