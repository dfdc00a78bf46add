// Proves that no process opens a store while another writes to it, and that neither waits for the
// other for good.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { RootDatabase } from 'lmdb';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Child, tempFolder } from '@latchkey/test-support/fixtures';
import { openStore } from '../src/open.js';
import { StoreOpenLock } from '../src/open-lock.js';

const module = (name: string): string => JSON.stringify(new URL(`../dist/${name}.js`, import.meta.url).href);

/** A process with the store open; `say` writes a line, `stand` holds its thread up. */
function otherProcess(path: string, script: string): Child {
  return new Child(
    `import { writeSync, writeFileSync } from 'node:fs';
     import { openStore } from ${module('open')};
     import { StoreOpenLock } from ${module('open-lock')};
     const path = process.argv[1];
     const say = (word) => writeSync(1, word + '\\n');
     const stand = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
     ${script}`,
    [path],
  );
}

const OPEN_SCRIPT = `const store = await openStore(path, { keyEncoding: 'uint32' });`;

/** A process in the middle of a transaction, for so long; it leaves a marker before it is done. */
async function startWriter(path: string, ms: number): Promise<{ readonly writer: Child; readonly marker: string }> {
  const marker = `${path}.marker`;
  const writer = otherProcess(
    path,
    `${OPEN_SCRIPT}
     await store.transaction(() => {
       store.putSync(1, 'written');
       say('writing');
       stand(${ms});
       writeFileSync(${JSON.stringify(marker)}, '');
     });`,
  );
  expect(await writer.line()).toBe('writing');
  return { writer, marker };
}

async function newStore(): Promise<{ readonly path: string; readonly store: RootDatabase<string, number> }> {
  const path = join(await tempFolder(), 'store');
  const store = await openStore<string, number>(path, { keyEncoding: 'uint32' });
  onTestFinished(() => store.close());
  return { path, store };
}

describe('a store that another process writes to', () => {
  it('is opened once that is done', async () => {
    const path = join(await tempFolder(), 'store');
    const { marker } = await startWriter(path, 500);
    const openLock = await StoreOpenLock.open(path);
    onTestFinished(() => openLock.close());
    expect(await openLock.exclusive(() => existsSync(marker))).toBe(true);
  });

  it('is opened by `openStore` alone', async () => {
    const path = await tempFolder();
    const openLock = await StoreOpenLock.open(path);
    onTestFinished(() => openLock.close());
    let done = false;
    const transaction = openLock.shared(() => pause(300).then(() => (done = true)));
    const store = await openStore(path);
    onTestFinished(() => store.close());
    expect(done).toBe(true);
    await transaction;
  });

  it('is opened though it writes on and on', async () => {
    const path = join(await tempFolder(), 'store');
    const writer = otherProcess(
      path,
      `${OPEN_SCRIPT}
       const openLock = await StoreOpenLock.open(path);
       const write = () => openLock.shared(() => new Promise((resolve) => setTimeout(resolve, 100)));
       setInterval(write, 5);
       setTimeout(say, 50, 'writing');`,
    );
    expect(await writer.line()).toBe('writing');
    for (let i = 0; i < 3; i++) await (await openStore(path, { keyEncoding: 'uint32' })).close();
  });

  it('is opened when that process is killed at it', async () => {
    const path = join(await tempFolder(), 'store');
    const { writer } = await startWriter(path, 600_000);
    const opening = openStore<string, number>(path, { keyEncoding: 'uint32' });
    await writer.kill('SIGKILL');
    const store = await opening;
    onTestFinished(() => store.close());
    expect(store.get(1)).toBeUndefined();
  });
});

it('a second handle of a process opens its tables while the first one writes', async () => {
  const child = new Child(
    `const { openStore } = await import(${module('open')});
     const first = await openStore(process.argv[1], { maxDbs: 2 });
     const second = await openStore(process.argv[1], { maxDbs: 2 });
     let written = 0;
     let opened = false;
     const write = async () => {
       while (!opened) await first.transaction(() => first.putSync('count', ++written));
     };
     const writes = Array.from({ length: 8 }, write);
     while (written < 200) {
       await second.openTables(() => second.openDB({ name: 'table' }));
       await new Promise(setImmediate);
     }
     opened = true;
     await Promise.all(writes);
     console.log('both went on');`,
    [join(await tempFolder(), 'store')],
  );
  expect(await child.line()).toBe('both went on');
  await child.kill('SIGKILL');
});

describe('a store without locks of the kernel', () => {
  const without = (script: string): string =>
    `const { arch } = process;
     Object.defineProperty(process, 'arch', { value: 'none' });
     if ((await import(${JSON.stringify(new URL('../../runtime/dist/files/index.js', import.meta.url).href)})).nativeLocks() !== undefined) throw new Error('there');
     Object.defineProperty(process, 'arch', { value: arch });
     const { openStore } = await import(${module('open')});
     ${script}`;
  const opening = `openStore(process.argv[1], { keyEncoding: 'uint32' })`;

  it('belongs to one process at a time, and to the next when that ends', async () => {
    const path = join(await tempFolder(), 'store');
    const first = new Child(
      without(
        `const store = await ${opening};
         await store.transaction(() => store.putSync(1, 'written'));
         console.log('written');
         setInterval(() => undefined, 1_000);`,
      ),
      [path],
    );
    expect(await first.line()).toBe('written');
    const second = new Child(without(`await ${opening}.catch(({ message, advice }) => console.log(message, advice));`), [path]);
    expect(await second.line()).toBe(
      `the store ${path} is in use by another process, and cannot be shared on this system Stop that process first.`,
    );
    await first.kill('SIGKILL');
    const third = new Child(without(`console.log((await ${opening}).get(1));`), [path]);
    expect(await third.line()).toBe('written');
  });

  it('can be opened again once it is closed', async () => {
    const path = join(await tempFolder(), 'store');
    const child = new Child(
      without(`await (await ${opening}).close(); await (await ${opening}).close(); console.log('twice');`),
      [path],
    );
    expect(await child.line()).toBe('twice');
  });
});

describe('a transaction', () => {
  const opening = (marker: string): string =>
    `const openLock = await StoreOpenLock.open(path);
     await openLock.exclusive(() => {
       say('opening');
       stand(500);
       writeFileSync(${JSON.stringify(marker)}, '');
     });`;

  it.each(['transaction', 'childTransaction'] as const)('waits while another process opens the store: %s', async (kind) => {
    const { path, store } = await newStore();
    const marker = join(path, 'marker');
    expect(await otherProcess(path, opening(marker)).line()).toBe('opening');
    const seen = await store[kind](() => existsSync(marker));
    expect(seen).toBe(true);
  });

  it('goes on when that process is killed at it', async () => {
    const { path, store } = await newStore();
    const opener = otherProcess(
      path,
      `await (await StoreOpenLock.open(path)).exclusive(() => { say('opening'); stand(600_000); });`,
    );
    expect(await opener.line()).toBe('opening');
    const written = store.transaction(() => store.putSync(1, 'written'));
    await opener.kill('SIGKILL');
    await written;
    expect(store.get(1)).toBe('written');
  });

  it('within another is part of it, though somebody waits to open the store', async () => {
    const { path, store } = await newStore();
    const openLock = await StoreOpenLock.open(path);
    onTestFinished(() => openLock.close());
    const { opening, inner } = await store.transaction(() => {
      store.putSync(1, 'outer');
      const begun = openLock.exclusive(() => 'opened');
      // Until the gate is to be looked at again.
      for (const since = performance.now(); performance.now() - since < 10;);
      return { opening: { begun }, inner: store.childTransaction(() => store.get(1)) };
    });
    expect(inner).toBe('outer');
    expect(await opening.begun).toBe('opened');
  });

  it('of a store that was closed is refused', async () => {
    const { store } = await newStore();
    await store.close();
    await expect(store.transaction(() => 1)).rejects.toThrow(/closed/);
  });
});
