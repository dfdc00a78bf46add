// Proves that no read of the store stays open, which would make its file grow: not of a list that
// waits for its reader, nor of a process that was killed.

import { randomBytes } from 'node:crypto';
import { expect, it, onTestFinished, vi } from 'vitest';
import { CapturedLog, Child } from '@latchkey/test-support/fixtures';
import { openReaders } from '@latchkey/test-support/sealed-store';
import { AuthServer } from '../src/server/auth-server.js';
import { setDisabled } from '@latchkey/operations';
import { startStoreWatchdog } from '../src/server/store-watchdog.js';
import { addNodes, newNode, newRegistry, WALL, withRegistry } from '@latchkey/test-support/registry-fixtures';

it('a list of nodes, or of the log, that waits for its reader has no read of the store open', async () => {
  const registry = await newRegistry();
  await addNodes(
    registry,
    Array.from({ length: 300 }, (_, i) => newNode(i)),
  );
  const { tables, audit } = registry;
  await setDisabled(registry, [1, 2], true);
  for (const pages of [registry.nodePages(), audit.entryPages(), audit.newestFirst()]) {
    expect((await pages.next()).done).toBe(false);
    tables.refreshSnapshot();
    expect(openReaders(tables.env)).toEqual([]);
    await pages.return(undefined);
  }
});

it('the read of a process that was killed is forgotten within a minute', async () => {
  const registry = await newRegistry();
  const { log } = new CapturedLog();
  const server = new AuthServer({ registry, clock: () => ({ wallMs: WALL, monotonicMs: WALL }), randomBytes, log });
  // So that the watch has nothing to write.
  await registry.announceAdoption();
  await server.persistClock();
  await addNodes(registry, [newNode(1), newNode(2)]);
  const child = new Child(
    withRegistry(
      `const rows = registry.tables.nodes.getRange()[Symbol.iterator](); rows.next(); say('reads'); await new Promise(() => setInterval(() => 0, 1_000));`,
    ),
    [registry.folder],
  );
  expect(await child.line()).toBe('reads');
  await child.kill('SIGKILL');
  registry.tables.refreshSnapshot();
  expect(openReaders(registry.tables.env)).toHaveLength(1);

  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  onTestFinished(() => void vi.useRealTimers());
  const stop = startStoreWatchdog(registry, server, log);
  vi.advanceTimersByTime(60_000);
  stop();
  expect(vi.getTimerCount()).toBe(0);
  await server.close();
  registry.tables.refreshSnapshot();
  expect(openReaders(registry.tables.env)).toEqual([]);
});
