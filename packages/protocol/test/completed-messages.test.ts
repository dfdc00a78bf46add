// Proves that messages are kept as they were, that a row is used again only once it was dropped,
// and that copies are handed out.

import { expect, it } from 'vitest';
import { LENGTH } from '../src/constants.js';
import { CompletedMessages } from '../src/completed-messages.js';

type Messages = [m1: Uint8Array, m4: Uint8Array, m5: Uint8Array, m6: Uint8Array];

function messages(n: number): Messages {
  return [LENGTH.M1, LENGTH.M4, LENGTH.M5, LENGTH.M6].map((length, i) => new Uint8Array(length).fill(n * 4 + i)) as Messages;
}

function inSlot(store: CompletedMessages, slot: number): Messages {
  return [store.m1(slot), store.m4(slot), store.m5(slot), store.m6(slot)];
}

it('keeps what it was given, in as many rows as there may be, and gives a row away once it was dropped', () => {
  const store = new CompletedMessages(3);
  const slots = [0, 1, 2].map((n) => store.insert(...messages(n)));
  expect(new Set(slots).size).toBe(3);
  for (const [n, slot] of slots.entries()) expect(inSlot(store, slot)).toEqual(messages(n));
  store.free(slots[1]!);
  expect(store.insert(...messages(7))).toBe(slots[1]);
  expect(slots.map((slot) => inSlot(store, slot))).toEqual([messages(0), messages(7), messages(2)]);
});

it('hands out copies', () => {
  const store = new CompletedMessages(1);
  const slot = store.insert(...messages(1));
  const handedOut = store.m4(slot);
  store.free(slot);
  store.insert(...messages(2));
  expect(handedOut).toEqual(messages(1)[1]);
});
