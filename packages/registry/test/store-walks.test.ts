// Walks through a registry whose engine answers at once: they go by pages all the same.

import { describe, expect, it } from 'vitest';
import { addNodes, newNode, newRegistry } from '@latchkey/test-support/registry-fixtures';
import { allOf } from '../src/listing.js';

const NODES = 600;

describe('a walk', () => {
  it('meets each row once, across pages, and lets others have their turn between two', async () => {
    const registry = await newRegistry();
    await addNodes(
      registry,
      Array.from({ length: NODES }, (_, i) => newNode(i)),
    );
    const order: string[] = [];
    const walk = (async () => {
      for await (const page of registry.nodePages()) order.push(`page of ${page.length}`);
    })();
    setImmediate(() => order.push('another'));
    await walk;
    expect(order).toEqual(['page of 256', 'another', 'page of 256', 'page of 88']);
    expect((await allOf(registry.nodePages(NODES - 300))).map(({ idI }) => idI)).toEqual(
      Array.from({ length: 300 }, (_, i) => NODES - 300 + i),
    );
    await Promise.all(Array.from({ length: NODES }, () => registry.record({ what: 'registry backed up' })));
    const [up, down] = [await allOf(registry.audit.entryPages()), await allOf(registry.audit.newestFirst())];
    expect(up.length).toBeGreaterThan(NODES);
    expect(down).toEqual(up.toReversed());
    expect((await allOf(registry.audit.newestFirst(300))).map(({ seq }) => seq)).toEqual(
      Array.from({ length: 300 }, (_, i) => 300 - i),
    );
  });

  it('ends between two pages once its caller has gone, and no other walk with it', async () => {
    const registry = await newRegistry();
    await addNodes(
      registry,
      Array.from({ length: NODES }, (_, i) => newNode(i)),
    );
    const gone = new AbortController();
    const reason = new Error('the caller has gone');
    let seen = 0;
    const walk = (async () => {
      for await (const page of registry.until(gone.signal).nodePages()) {
        seen += page.length;
        gone.abort(reason);
      }
    })();
    await expect(walk).rejects.toBe(reason);
    expect(seen).toBe(256);
    expect(await allOf(registry.nodePages())).toHaveLength(NODES);
  });
});
