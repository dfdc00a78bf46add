// Proves that the lock for systems without the native one is as exclusive, and goes with its
// process.

import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { lockWithSocket } from '../src/files/socket-lock.js';
import { Child, tempFolder } from '@latchkey/test-support/fixtures';

const HOLDER = `
  import { open } from 'node:fs/promises';
  import { lockWithSocket } from ${JSON.stringify(new URL('../dist/files/socket-lock.js', import.meta.url).href)};
  globalThis.lock = await lockWithSocket(await open(process.argv[1], 'a+'));
  console.log(globalThis.lock === undefined ? 'in use' : 'locked');
  setInterval(() => undefined, 1000);`;

async function lockFile(): Promise<string> {
  return join(await tempFolder(), 'lock');
}

async function opened(path: string): Promise<Awaited<ReturnType<typeof open>>> {
  const file = await open(path, 'a+');
  onTestFinished(() => file.close());
  return file;
}

describe.skipIf(process.platform !== 'linux')('a lock by socket', () => {
  it('is had by one process, and free once that has been killed', async () => {
    const path = await lockFile();
    const holder = new Child(HOLDER, [path]);
    expect(await holder.line()).toBe('locked');
    expect(await lockWithSocket(await opened(path))).toBeUndefined();
    const second = new Child(HOLDER, [path]);
    expect(await second.line()).toBe('in use');
    await second.kill('SIGKILL');
    await holder.kill('SIGKILL');
    const next = await lockWithSocket(await opened(path));
    expect(next).toBeDefined();
    await next?.release();
  });

  it('is had once in one process too, until it is released; another file has another', async () => {
    const [path, other] = [await lockFile(), await lockFile()];
    const first = await lockWithSocket(await opened(path));
    expect(await lockWithSocket(await opened(path))).toBeUndefined();
    const elsewhere = await lockWithSocket(await opened(other));
    expect(elsewhere).toBeDefined();
    await elsewhere?.release();
    await first?.release();
    const again = await lockWithSocket(await opened(path));
    expect(again).toBeDefined();
    await again?.release();
  });
});
