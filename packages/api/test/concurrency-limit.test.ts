import { expect, it } from 'vitest';
import { ConcurrencyLimit } from '../src/concurrency-limit.js';

it('a request waits where another one of its caller, or four of all, are under way', () => {
  const limit = new ConcurrencyLimit('Other files are being sent.');
  const take = (id: string): (() => void) => limit.take({ id, scopes: new Set() });
  const done = take('a');
  expect(() => take('a')).toThrow('Too much is under way');
  for (const id of ['b', 'c', 'd']) take(id);
  expect(() => take('e')).toThrow('Too much is under way');
  done();
  expect(take('e')).toBeTypeOf('function');
});
