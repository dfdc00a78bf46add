// Proves that things stand in the order in which they came, whoever leaves from where.

import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { LinkedList, type ListNode } from '../src/linked-list.js';

it('is as a list would be, whatever joins and leaves', () => {
  const step = fc.oneof(fc.constant('append' as const), fc.nat());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const list = new LinkedList<number>();
      const expected: { readonly value: number; readonly node: ListNode<number> }[] = [];
      for (const [value, what] of steps.entries()) {
        if (what === 'append') expected.push({ value, node: list.append(value) });
        else for (const { node } of expected.splice(what % (expected.length || 1), 1)) list.remove(node);
        expect([list.first, list.length]).toEqual([expected[0]?.value, expected.length]);
      }
      for (const { value, node } of expected) {
        expect(list.first).toBe(value);
        list.remove(node);
      }
      expect([list.first, list.length]).toEqual([undefined, 0]);
    }),
  );
});
