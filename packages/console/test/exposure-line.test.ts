// Which order a line of the exposure of initial keys leads to.

import { expect, it } from 'vitest';
import { givenTo, lineOf } from '../src/exposure-line.js';

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

it('the keys of an order that were given at many times are one line', () => {
  const at = (second: number): string => new Date(1_000 * second).toISOString();
  const issued = [
    ...Array.from({ length: 3_000 }, (_, index) => ({ order: 5, installer: 'Kim', at: at(index) })),
    { order: 7, installer: 'Bo', at: at(1) },
  ];
  expect(givenTo(issued.toReversed())).toEqual([
    { order: 7, installer: 'Bo', first: at(1), last: at(1) },
    { order: 5, installer: 'Kim', first: at(0), last: at(2_999) },
  ]);
});
