// Proves that messages are kept as they were, that a row is used again only once it was dropped, and that copies are handed out.

import { expect, it } from 'vitest';
import { LENGTH } from '../src/constants.js';
import { KeptMessages } from '../src/kept-messages.js';

type Messages = [m1: Uint8Array, m4: Uint8Array, m5: Uint8Array, m6: Uint8Array];

function messages(n: number): Messages {
  return [LENGTH.M1, LENGTH.M4, LENGTH.M5, LENGTH.M6].map((length, i) => new Uint8Array(length).fill(n * 4 + i)) as Messages;
}

function inRow(kept: KeptMessages, row: number): Messages {
  return [kept.m1(row), kept.m4(row), kept.m5(row), kept.m6(row)];
}

it('keeps what it was given, in as many rows as there may be, and gives a row away once it was dropped', () => {
  const kept = new KeptMessages(3);
  const rows = [0, 1, 2].map((n) => kept.keep(...messages(n)));
  expect(new Set(rows).size).toBe(3);
  for (const [n, row] of rows.entries()) expect(inRow(kept, row)).toEqual(messages(n));
  kept.drop(rows[1]!);
  expect(kept.keep(...messages(7))).toBe(rows[1]);
  expect(rows.map((row) => inRow(kept, row))).toEqual([messages(0), messages(7), messages(2)]);
});

it('hands out copies', () => {
  const kept = new KeptMessages(1);
  const row = kept.keep(...messages(1));
  const handedOut = kept.m4(row);
  kept.drop(row);
  kept.keep(...messages(2));
  expect(handedOut).toEqual(messages(1)[1]);
});
