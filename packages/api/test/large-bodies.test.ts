import { expect, it } from 'vitest';
import { LargeBodies } from '../src/large-bodies.js';

it('a large body waits where another one of its caller, or four of all, are read', () => {
  const bodies = new LargeBodies();
  const take = (id: string): (() => void) => bodies.take({ id, scopes: new Set() });
  const done = take('a');
  expect(() => take('a')).toThrow('Too much is under way');
  for (const id of ['b', 'c', 'd']) take(id);
  expect(() => take('e')).toThrow('Too much is under way');
  done();
  expect(take('e')).toBeTypeOf('function');
});
