// Proves which room a function is in, that what a profile holds is found there, and that a profiler
// in a daemon answers.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { byRoom, roomOf } from '../src/where/rooms.js';
import { Daemon } from '../src/daemon.js';

it.each([
  ['file:///x/latchkey/packages/protocol/dist/cipher.js', 'protocol'],
  ['file:///x/latchkey/packages/registry/dist/lmdb/audit-table.js', 'registry/lmdb'],
  ['file:///x/latchkey/packages/registry/dist/registry.js', 'registry'],
  ['file:///x/latchkey/packages/controller/dist/commands/run.js', 'controller'],
  ['file:///x/node_modules/.pnpm/coap@1.4.1/node_modules/coap/dist/index.js', 'library: coap'],
  ['file:///x/node_modules/.pnpm/@noble+ciphers@2.0.0/node_modules/@noble/ciphers/aes.js', 'library: @noble/ciphers'],
  ['node:dgram', 'Node.js: sockets'],
  ['node:internal/timers', 'Node.js: timers'],
  ['node:internal/process/task_queues', 'Node.js: promises'],
  ['node:fs', 'Node.js: all else'],
])('%s is in %s', (url, room) => {
  expect(roomOf({ url, name: 'f' })).toBe(room);
});

it('knows what V8 and the event loop do by themselves, and leaves out the time of waiting', () => {
  expect(roomOf({ url: '', name: '(garbage collector)' })).toBe('garbage collection');
  expect(roomOf({ url: '', name: '(program)' })).toBe('Node.js: event loop and system calls');
  expect(roomOf({ url: '', name: '(idle)' })).toBeUndefined();
});

it('adds what functions of one room cost', () => {
  const costs = byRoom([
    { url: 'node:dgram', name: 'send', cost: 2 },
    { url: 'node:internal/dgram', name: 'newHandle', cost: 3 },
    { url: '', name: '(idle)', cost: 100 },
  ]);
  expect([...costs]).toEqual([['Node.js: sockets', 5]]);
});

it('profiles a daemon that listens, its CPU time and what it allocates', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-where-'));
  const daemon = await Daemon.start('limits', ['coap-server', join(folder, 'store')], { profiled: true });
  try {
    for (const what of ['start cpu', 'start memory'] as const) {
      // Nobody asks the daemon: in a short time the profiler may have seen it do nothing.
      let costs: readonly { readonly cost: number }[] = [];
      const profile = async (): Promise<number> => {
        expect(await daemon.profile(what)).toEqual([]);
        costs = await daemon.profile('stop');
        return costs.length;
      };
      await expect.poll(profile, { timeout: 120_000 }).toBeGreaterThan(0);
      expect(costs.every(({ cost }) => Number.isFinite(cost))).toBe(true);
    }
  } finally {
    await daemon.stop();
    await rm(folder, { recursive: true, force: true });
  }
});
