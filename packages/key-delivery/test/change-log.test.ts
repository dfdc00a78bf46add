// Proves that the change log gives every node that changed after a sequence number, once, and says
// when it can not.

import { array, assert, integer, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChangeLog } from '../src/change-log.js';

const CAPACITY = 5;

function changesAfter(log: ChangeLog, seq: number): { seq: number; idI: number }[] {
  const found = [];
  for (let next = log.after(seq); next !== undefined; next = log.after(next.seq)) found.push(next);
  return found;
}

describe('a change log', () => {
  it('gives what a plain list gives, for all lists', () => {
    assert(
      property(array(integer({ min: 0, max: 7 }), { maxLength: 30 }), (ids) => {
        const log = new ChangeLog(CAPACITY);
        const first = log.last;
        const all = ids.map((idI, index) => {
          log.append(idI);
          return { seq: first + 1 + index, idI };
        });
        expect(log.last).toBe(first + ids.length);
        for (let seq = first - 2; seq <= log.last + 2; seq++) {
          expect(log.covers(seq)).toBe(seq <= log.last && seq >= Math.max(first, log.last - CAPACITY));
          if (!log.covers(seq)) continue;
          const later = all.filter((change) => change.seq > seq);
          const newest = later.filter(({ idI }, index) => !later.slice(index + 1).some((other) => other.idI === idI));
          expect(changesAfter(log, seq)).toEqual(newest);
        }
      }),
    );
  });

  it('begins at another number each time', () => {
    expect(new ChangeLog().last).not.toBe(new ChangeLog().last);
    expect(new ChangeLog().covers(0)).toBe(false);
  });
});
