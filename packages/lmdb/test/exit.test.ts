// Proves that a process which must end at once does so while its store is being written to, and
// that the store serves others then.

import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Child, tempFolder } from '@latchkey/test-support/fixtures';
import { openStore } from '../src/open.js';

const runtime = (name: string): string => JSON.stringify(new URL(`../../runtime/dist/${name}.js`, import.meta.url).href);
const open = JSON.stringify(new URL('../dist/open.js', import.meta.url).href);

/** A daemon that is up, always writes, and never comes to an end when asked to stop. */
async function daemon(script = ''): Promise<{ readonly path: string; readonly child: Child }> {
  const path = join(await tempFolder(), 'store');
  const child = new Child(
    `import { runDaemon } from ${runtime('daemon/lifecycle')};
     import { createLog } from ${runtime('daemon/log')};
     import { openStore } from ${open};
     const log = await createLog('daemon', 'info');
     await runDaemon(log, async () => {
       const store = await openStore(process.argv[1], { keyEncoding: 'uint32' });
       const write = async (key) => {
         for (let n = 0; ; n++) await store.transaction(() => store.putSync(key, n));
       };
       for (let key = 0; key < 16; key++) void write(key);
       await store.transaction(() => undefined);
       log.info('up');
       ${script}
       return { stop: () => new Promise(() => undefined) };
     });`,
    [path],
  );
  expect(await nextMessage(child)).toBe('up');
  return { path, child };
}

async function nextMessage(child: Child): Promise<unknown> {
  return (JSON.parse((await child.line()) ?? '{}') as { msg?: string }).msg;
}

async function expectServes(path: string): Promise<void> {
  const store = await openStore<number, number>(path, { keyEncoding: 'uint32' });
  await store.transaction(() => store.putSync(0, -1));
  expect(store.get(0)).toBe(-1);
  await store.close();
}

describe('a daemon that writes without a pause', () => {
  it('ends with the second signal', async () => {
    const { path, child } = await daemon();
    const ended = child.kill('SIGTERM');
    expect(await nextMessage(child)).toBe('stopping');
    void child.kill('SIGTERM');
    expect(await ended).toEqual({ code: 1, signal: null });
    await expectServes(path);
  });

  it('ends by a mistake nobody caught, once it has said so', async () => {
    const { path, child } = await daemon(`setImmediate(() => { throw new Error('oops'); });`);
    expect(await nextMessage(child)).toBe('internal error; exiting');
    expect(await child.exited).toEqual({ code: 1, signal: null });
    await expectServes(path);
  });

  it('is ended where it does not come to an end within 10 s of being asked to', async () => {
    const { path, child } = await daemon();
    const ended = child.kill('SIGTERM');
    expect(await nextMessage(child)).toBe('stopping');
    expect(await nextMessage(child)).toBe('stopped with work still in flight');
    expect(await ended).toEqual({ code: 1, signal: null });
    await expectServes(path);
  });
});
