// Proves how a list of values goes to PostgreSQL: as its manual has it (8.15.6).

import { expect, it } from 'vitest';
import { toArrayLiteral } from '../src/postgres/prepared-query.js';

it.each([
  [[], '{}'],
  [[1, 2 ** 48, null, -1, undefined], '{1,281474976710656,NULL,-1,NULL}'],
  [[true, false], '{true,false}'],
  [[Buffer.from([0, 0xab]), Uint8Array.of(), null], String.raw`{\\x00ab,\\x,NULL}`],
  [['a', '', 'NULL', 'b,c', '{d}', ' '], '{"a","","NULL","b,c","{d}"," "}'],
  [['say "it"', String.raw`a\b`, 'é\n'], String.raw`{"say \"it\"","a\\b","é` + '\n"}'],
  [['"\n\t\\', '"\u{1f511}', '"\ud800', '"\u007f\u2028'], '{"\\"\n\t\\\\","\\"\u{1f511}","\\"\ud800","\\"\u007f\u2028"}'],
  [[{ a: '"' }], String.raw`{"{\"a\":\"\\\"\"}"}`],
])('%j', (values, literal) => {
  expect(toArrayLiteral(values)).toBe(literal);
});
