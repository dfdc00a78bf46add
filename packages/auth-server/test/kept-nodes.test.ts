// Proves that what is kept of a node between its M2 and its M7 is what the store has, is handed out once, and is wiped when it goes.

import { describe, expect, it } from 'vitest';
import { setTerms } from '../src/changes.js';
import { KeptNodes, type OpenedRow } from '../src/kept-nodes.js';
import type { NodeRow } from '../src/rows.js';
import { addNodes, commitTo, newNode, newRegistry, newSecret } from './fixtures.js';

/** More than are kept. */
const MANY = 1_025;

function opened(): OpenedRow {
  return { octets: Buffer.from('a row'), row: {} as NodeRow, key: newSecret() };
}

describe('kept nodes', () => {
  it('are handed out once, with a key of their own, and only for the octets they were made of', () => {
    const kept = new KeptNodes();
    const one = opened();
    kept.keep(7, one);
    const hex = one.key.toHex();
    one.key.wipe();
    const taken = kept.take(7, (there) => there.equals(Buffer.from('a row')));
    expect(taken?.key.toHex()).toBe(hex);
    expect(kept.take(7, (there) => there.equals(Buffer.from('a row')))).toBeUndefined();
    kept.keep(7, opened());
    expect(kept.take(7, (there) => there.equals(Buffer.from('another')))).toBeUndefined();
    expect(kept.take(7, (there) => there.equals(Buffer.from('a row')))).toBeUndefined();
    kept.close();
  });

  it('go, the oldest first, when there are too many', () => {
    const kept = new KeptNodes();
    for (let idI = 0; idI < MANY; idI++) kept.keep(idI, opened());
    expect(kept.take(0, (there) => there.equals(Buffer.from('a row')))).toBeUndefined();
    expect(kept.take(1, (there) => there.equals(Buffer.from('a row')))).toBeDefined();
    kept.close();
    expect(kept.take(2, (there) => there.equals(Buffer.from('a row')))).toBeUndefined();
  });
});

describe('a node that was kept open', () => {
  it('is the same when it is looked up again, and what changed meanwhile shows', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7)]);
    const first = registry.node(7)!;
    registry.keepOpen(first);
    const again = registry.node(7)!;
    expect(again.stored.row).toBe(first.stored.row);
    expect(again.key).not.toBe(first.key);
    expect(again.key.equals(first.key)).toBe(true);

    registry.keepOpen(again);
    await setTerms(registry, [7], { lifetime: 77 });
    expect(registry.node(7)).toMatchObject({ lifetime: 77 });

    const before = registry.node(7)!;
    registry.keepOpen(before);
    const psk = newSecret();
    expect(await commitTo(registry, before, psk)).toBe('committed');
    expect(registry.node(7)?.key.equals(psk)).toBe(true);
  });

  it('is not committed to when it was judged by another key than its own', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7)]);
    registry.keepOpen(registry.node(7)!);
    expect(await commitTo(registry, { ...registry.node(7)!, key: newSecret() }, newSecret())).toBe('lost');
  });
});
