// Proves that what is known of nodes that have gone has a bound.

import { expect, it } from 'vitest';
import { KeySnapshot } from '../../src/targets/key-snapshot.js';
import { node } from './generations.js';

const MANY = 300_000;
const idOf = (number: number): string => number.toString(16).padStart(8, '0');

it('knows why the latest nodes have no key, however many went before', () => {
  const snapshot = new KeySnapshot();
  snapshot.set(node(idOf(0)));
  for (let i = 1; i <= MANY; i++) snapshot.revoke(idOf(i), 'removed');
  // One of the first, that went again.
  snapshot.revoke(idOf(1), 'disabled');
  expect(snapshot.size).toBe(1 + 262_144);
  expect([1, 2, MANY].map((i) => snapshot.reasonFor(idOf(i)))).toEqual(['disabled', 'gone', 'removed']);
});
