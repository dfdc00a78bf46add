// Proves that a row that is kept decoded is what the store has now, and that there is a bound.

import { describe, expect, it } from 'vitest';
import { addController, removeController, stageControllerKey } from '@latchkey/operations';
import { RowCache } from '../src/lmdb/row-cache.js';
import { controller, ID_C, newRegistry, newSecret } from '@latchkey/test-support/registry-fixtures';

/** More than are kept. */
const MANY = 257;

describe('rows kept decoded', () => {
  it('are the same object until the store has other octets', async () => {
    const registry = await newRegistry();
    await addController(registry, controller());
    const rows = new RowCache(registry.tables.controllers, 256);
    const first = rows.get(ID_C);
    expect(first).toBeDefined();
    expect(rows.get(ID_C)).toBe(first);
    await stageControllerKey(registry, ID_C, newSecret());
    const second = rows.get(ID_C);
    expect(second).not.toBe(first);
    expect(second?.row.stagedSkCs).toBeDefined();
    await removeController(registry, ID_C);
    expect(rows.get(ID_C)).toBeUndefined();
  });

  it('go, the oldest first, when there are too many', async () => {
    const registry = await newRegistry();
    for (let idC = 1; idC <= MANY; idC++) await addController(registry, controller({ idC }));
    const rows = new RowCache(registry.tables.controllers, 256);
    const [first, second] = [rows.get(1), rows.get(2)];
    for (let idC = 3; idC <= MANY; idC++) rows.get(idC);
    expect(rows.get(2)).toBe(second);
    expect(rows.get(1)).not.toBe(first);
    expect(rows.get(1)).toEqual(first);
  });
});
