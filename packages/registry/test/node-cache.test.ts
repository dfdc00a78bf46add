// Proves that what is kept of a node between its M2 and its M7 is what the store has, is handed out
// once, and is wiped when it goes.

import { describe, expect, it } from 'vitest';
import { setKeyLifetime } from '@latchkey/operations';
import { NodeCache } from '../src/node-cache.js';
import type { NodeRow, UnsealedNode } from '../src/model/rows.js';
import { addNodes, commitTo, newNode, newRegistry, newSecret } from '@latchkey/test-support/registry-fixtures';

/** More than are kept. */
const MANY = 1_025;
/** Of a row: another one is another version, whatever is in it. */
const VERSION = Buffer.from('a row');

function unsealedNode(idI: number): UnsealedNode {
  const key = newSecret();
  return { idI, key, stored: { version: VERSION, row: {} as NodeRow, key } } as UnsealedNode;
}

/** Keeps a node, whose own key is wiped then. */
function putAndWipe(cache: NodeCache, node: UnsealedNode): string {
  cache.put(node);
  const hex = node.key.toHex();
  node.key.wipe();
  return hex;
}

describe('kept nodes', () => {
  it('are handed out once, with a key of their own, and only for the version they were made of', () => {
    const cache = new NodeCache();
    const hex = putAndWipe(cache, unsealedNode(7));
    const taken = cache.take(7, VERSION);
    expect(taken?.toHex()).toBe(hex);
    expect(cache.take(7, VERSION)).toBeUndefined();
    cache.put(unsealedNode(7));
    expect(cache.take(7, Buffer.from('a row'))).toBeUndefined();
    expect(cache.take(7, VERSION)).toBeUndefined();
    cache.close();
  });

  it('are handed out whole, with a key of their own', () => {
    const cache = new NodeCache();
    const one = unsealedNode(7);
    const hex = putAndWipe(cache, one);
    const taken = cache.takeNode(7);
    expect(taken?.key.toHex()).toBe(hex);
    expect(taken?.stored).toEqual({ ...one.stored, key: taken?.key });
    expect(taken?.isKept).toBe(true);
    expect(cache.takeNode(7)).toBeUndefined();
    cache.close();
  });

  it('go, the oldest first, when there are too many', () => {
    const cache = new NodeCache();
    for (let idI = 0; idI < MANY; idI++) cache.put(unsealedNode(idI));
    expect(cache.take(0, VERSION)).toBeUndefined();
    expect(cache.take(1, VERSION)).toBeDefined();
    cache.close();
    expect(cache.take(2, VERSION)).toBeUndefined();
  });
});

describe('a node that was kept open', () => {
  it('is the same when it is looked up again, and what changed meanwhile shows', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7)]);
    const first = (await registry.node(7))!;
    registry.cacheNode(first);
    const again = (await registry.node(7))!;
    expect(again.stored.row).toBe(first.stored.row);
    expect(again.key).not.toBe(first.key);
    expect(again.key.equals(first.key)).toBe(true);

    registry.cacheNode(again);
    await setKeyLifetime(registry, [7], { lifetime: 77 });
    expect(await registry.node(7)).toMatchObject({ lifetime: 77 });

    const before = (await registry.node(7))!;
    registry.cacheNode(before);
    const psk = newSecret();
    expect(await commitTo(registry, before, psk)).toBe('committed');
    expect((await registry.node(7))?.key.equals(psk)).toBe(true);
  });

  it('is not committed to when it was judged by another key than its own', async () => {
    const registry = await newRegistry();
    await addNodes(registry, [newNode(7)]);
    registry.cacheNode((await registry.node(7))!);
    expect(await commitTo(registry, { ...(await registry.node(7))!, key: newSecret() }, newSecret())).toBe('conflict');
  });
});
