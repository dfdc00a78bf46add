// Proves that an order draws IDs that are free and keys that are random, and that its manifest can be read again, however long.

import { join } from 'node:path';
import { createFile, MAX_MANIFEST, Failure, formatManifest, parseManifest, readPrivateFile } from '@latchkey/runtime';
import { describe, expect, it } from 'vitest';
import { tempFolder } from '../../runtime/test/fixtures.js';
import { drawNodes, manifestOf, newNode as freshNode } from '../src/order.js';
import { controller } from './fixtures.js';

const order = { controller: controller(), count: 500, sharedKey: false, lifetime: 60, isTaken: () => false };

describe('an order', () => {
  it('has an ID and a key for each node, and every node may join', () => {
    const nodes = drawNodes(order);
    expect(new Set(nodes.map(({ idI }) => idI)).size).toBe(500);
    expect(new Set(nodes.map(({ key }) => key.toHex())).size).toBe(500);
    for (const { initial, disabled, lifetime, controller: idC } of nodes) {
      expect([initial, disabled, lifetime, idC]).toEqual([true, false, 60, 1]);
    }
  });

  it('has one key where it is to be shared', () => {
    expect(new Set(drawNodes({ ...order, sharedKey: true }).map(({ key }) => key.toHex())).size).toBe(1);
  });

  it('passes over IDs that are taken', () => {
    const drawn: number[] = [];
    const isTaken = (idI: number): boolean => drawn.push(idI) % 2 === 1;
    const ids = drawNodes({ ...order, isTaken }).map(({ idI }) => idI);
    expect(ids).toEqual(drawn.filter((_, i) => i % 2 === 1));
  });

  it('fails rather than look for free IDs for ever', () => {
    expect(() => drawNodes({ ...order, isTaken: () => true })).toThrow(Failure);
  });

  it.each([1, 500, 20_000])('of %i nodes has a manifest that can be read again', async (count) => {
    const nodes = drawNodes({ ...order, count });
    const path = join(await tempFolder(), 'manifest.csv');
    await createFile(path, formatManifest(manifestOf(nodes, order.controller)));
    const lines = parseManifest(await readPrivateFile(path, MAX_MANIFEST), path);
    expect(lines.map((line) => freshNode(line, 60)).map(({ idI, key }) => [idI, key.toHex()])).toEqual(
      nodes.map(({ idI, key }) => [idI, key.toHex()]),
    );
    expect(lines[0]?.controller).toEqual(order.controller.nid);
  });
});
