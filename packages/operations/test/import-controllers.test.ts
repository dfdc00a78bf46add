// Proves which addresses in a file of nodes contradict the registry, and that a file full of them
// is told in few words.

import { expect, it } from 'vitest';
import { addController } from '../src/administration.js';
import { ImportControllers } from '../src/import/import-controllers.js';
import { controller, newRegistry } from '@latchkey/test-support/registry-fixtures';

/**
 * What is said of rows, from line 2 on, of a registry with controller 1 at 192.0.2.1:5683 and 2 at
 * [2001:db8::2]:5683.
 */
async function warningsOf(...rows: readonly (readonly [idC: number, host: string, port?: number])[]): Promise<string[]> {
  const registry = await newRegistry();
  await addController(registry, controller());
  await addController(registry, controller({ idC: 2, nid: { host: '2001:db8::2', port: 5683 } }));
  const column = new ImportControllers(await registry.controllers());
  for (const [i, [idC, host, port = 5683]] of rows.entries()) column.add({ line: i + 2, idC, controller: { host, port } });
  return column.warnings;
}

it('says nothing of the registry’s own addresses, in any spelling, nor of controllers that it does not know', async () => {
  expect(await warningsOf([1, '192.0.2.1'], [2, '2001:DB8:0::2'], [1, '::ffff:192.0.2.1'], [9, '192.0.2.9'])).toEqual([]);
});

it('says each address once, with its first line and how many there are', async () => {
  expect(
    await warningsOf(
      [1, '192.0.2.1'],
      [1, '192.0.2.2'],
      [2, '192.0.2.2'],
      [1, '192.0.2.2'],
      [1, '192.0.2.1'],
      [1, '192.0.2.2'],
      [1, '192.0.2.1', 1],
    ),
  ).toEqual([
    'line 3 and 2 more: controller 00000001 is at 192.0.2.2:5683 in the file, and at 192.0.2.1:5683 in the registry',
    'line 4: controller 00000002 is at 192.0.2.2:5683 in the file, and at [2001:db8::2]:5683 in the registry',
    'line 8: controller 00000001 is at 192.0.2.1:1 in the file, and at 192.0.2.1:5683 in the registry',
  ]);
});

it('names a bounded number of addresses', async () => {
  const warnings = await warningsOf(...Array.from({ length: 50 }, (_, i) => [1, `host-${i}`] as const));
  expect(warnings).toHaveLength(21);
  expect(warnings.at(-1)).toBe('30 more lines have another address than the registry');
});
