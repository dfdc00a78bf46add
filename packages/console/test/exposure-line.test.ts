// Which order a line of the exposure of initial keys leads to.

import { expect, it } from 'vitest';
import { lineOf } from '../src/exposure-line.js';

it('a line leads to the nodes of its order, and to no others', () => {
  const issue = (order: number): { order: number; installer: string; at: string } => ({
    order,
    installer: 'Kim',
    at: '2026-11-30T08:00:00.000Z',
  });
  expect(lineOf({ keys: '40 of order 3', issued: [issue(3)] })).toEqual({ order: 3, keys: 40, key: undefined });
  // One key for all nodes, handed over twice.
  expect(lineOf({ keys: '1b21', issued: [issue(5), issue(5)] })).toEqual({ order: 5, keys: 1, key: '1b21' });
  expect(lineOf({ keys: '1b21', issued: [issue(5), issue(6)] })).toEqual({ order: undefined, keys: 1, key: '1b21' });
});
