// What comes of an administrator's mistakes and of commands that are interrupted: nothing is half done, and what is said is true.

import { readFile, readdir } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exists } from '@latchkey/runtime';
import { Network } from '../src/index.js';
import { Administrator } from './administrator.js';
import { CONTROLLER } from './fixtures.js';

let network: Network;
let admin: Administrator;
beforeAll(async () => {
  network = await Network.create();
  admin = new Administrator(network);
  await network.addController(CONTROLLER, '192.0.2.1:5683', ['192.0.2.7:5693']);
});
afterAll(() => network.remove());

/** Makes an order; gives its number and its manifest. */
async function order(
  name: string,
  count = 1,
  ...more: readonly string[]
): Promise<{ number: string; manifest: string; ids: string[] }> {
  const args = ['--installer', 'Kim', '--controller', CONTROLLER, '--count', String(count), '--out', network.path(name)];
  const made = await admin.json<{ order: number; manifest: string }>('order', 'create', ...args, ...more);
  const text = await readFile(made.manifest, 'utf8');
  const ids = [...text.matchAll(/^[0-9a-f]{8}(?=,)/gm)].map(([id]) => id);
  return { number: String(made.order), manifest: made.manifest, ids };
}

describe('an order that is interrupted', () => {
  it('leaves no manifest, is in no list, and is cleared away by the next', async () => {
    const out = network.path('interrupted');
    const args = ['order', 'create', '--data', network.registry, '--installer', 'Kim', '--controller', CONTROLLER];
    const registry = await network.openRegistry();
    try {
      const creating = network.start('auth-server', [...args, '--count', '100000', '--out', out]);
      while ([...registry.orders()].length === 0) await setImmediate();
      expect(await creating.stop('SIGINT')).toBeNull();
      expect([...registry.orders()]).toMatchObject([{ state: 'pending' }]);
    } finally {
      await registry.close();
    }
    expect(await exists(`${out}/manifest.csv`)).toBe(false);
    expect(await admin.json('order', 'list')).toEqual([]);
    // In the same place, which is free.
    const again = await order('interrupted');
    expect([again.number, again.ids.length]).toEqual(['1', 1]);
    expect((await admin.json<unknown[]>('node', 'list')).length).toBe(1);
    expect(await readdir(out)).toContain('manifest.csv');
  });
});
