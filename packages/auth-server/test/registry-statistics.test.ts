// Proves that metrics count nodes, orders and the audit log by what the storage engine counts, and
// keep the latest count where none can be made.

import { Failure } from '@latchkey/runtime/failure';
import { removeNodes, setDisabled } from '@latchkey/operations';
import { expect, it, onTestFinished, vi } from 'vitest';
import { CapturedLog } from '@latchkey/test-support/fixtures';
import { addNodes, newNode, newRegistry } from '@latchkey/test-support/registry-fixtures';
import { RegistryStatistics } from '../src/telemetry/registry-statistics.js';

type Registry = Awaited<ReturnType<typeof newRegistry>>;

/** The metrics of a registry, and their clock. */
function statisticsOf(registry: Registry): { read: () => Record<string, number>; later: (ms: number) => void } {
  const start = performance.now();
  let passed = 0;
  const now = vi.spyOn(performance, 'now').mockImplementation(() => start + passed);
  const statistics = new RegistryStatistics(registry, new CapturedLog().log);
  onTestFinished(() => {
    statistics.close();
    now.mockRestore();
  });
  return {
    read: () =>
      Object.fromEntries(
        statistics.metrics().flatMap(({ name, read }) => {
          const samples = read();
          if (typeof samples === 'number') return [[name, samples] as const];
          return [...samples].flatMap((sample) =>
            'value' in sample ? [[[name, ...Object.values(sample.labels ?? {})].join(' '), sample.value] as const] : [],
          );
        }),
      ),
    later: (ms) => (passed += ms),
  };
}

it('come with the scrape after the first, and again after 10 s, without a walk through the nodes', async () => {
  const registry = await newRegistry();
  await addNodes(registry, [newNode(1), newNode(2), newNode(3), newNode(4)]);
  const walks = vi.spyOn(registry.storage, 'nodePage');
  const { read, later } = statisticsOf(registry);
  expect(read()).toEqual({});
  await expect.poll(read, { interval: 5 }).toMatchObject({ 'latchkey_nodes enrolled': 4, 'latchkey_nodes disabled': 0 });
  expect(read()).toMatchObject({ latchkey_audit_entries: await registry.storage.audit.length });

  await setDisabled(registry, [1, 2], true);
  await removeNodes(registry, [2, 3]);
  later(9_999);
  expect(read()).toMatchObject({ 'latchkey_nodes enrolled': 4 });
  later(1);
  await expect.poll(read, { interval: 5 }).toMatchObject({ 'latchkey_nodes enrolled': 1, 'latchkey_nodes disabled': 1 });
  expect(walks).not.toHaveBeenCalled();
});

it('are those of before, with their time, while the registry cannot be read', async () => {
  const registry = await newRegistry();
  await addNodes(registry, [newNode(1)]);
  const { read, later } = statisticsOf(registry);
  read();
  await expect.poll(read, { interval: 5 }).toMatchObject({ 'latchkey_nodes enrolled': 1 });
  const before = read();
  const counts = vi.spyOn(registry.storage, 'nodeCounts').mockRejectedValue(new Failure('the store fails'));
  later(10_000);
  read();
  await expect.poll(() => counts.mock.calls.length, { interval: 5 }).toBe(1);
  expect(read()).toEqual(before);
});
