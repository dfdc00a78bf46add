// Proves that things stand in the order in which they came, whoever leaves from where.

import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { Line, type Place } from '../src/line.js';

it('is as a list would be, whatever joins and leaves', () => {
  const step = fc.oneof(fc.constant('join' as const), fc.nat());
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const line = new Line<number>();
      const there: { readonly thing: number; readonly place: Place<number> }[] = [];
      for (const [thing, what] of steps.entries()) {
        if (what === 'join') there.push({ thing, place: line.join(thing) });
        else for (const { place } of there.splice(what % (there.length || 1), 1)) line.leave(place);
        expect([line.first, line.length]).toEqual([there[0]?.thing, there.length]);
      }
      for (const { thing, place } of there) {
        expect(line.first).toBe(thing);
        line.leave(place);
      }
      expect([line.first, line.length]).toEqual([undefined, 0]);
    }),
  );
});
