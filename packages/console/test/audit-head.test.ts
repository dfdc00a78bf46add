// Heads of the audit log, as people write them down.

import { expect, it } from 'vitest';
import { findHead, isHead } from '../src/audit-head.js';

const HASH = '53a208eba7b63120159f8cdbdad0b4a39fba8549b26dbea7f0561bca46330324';

it('a head is a number and a hash of 64 hex digits', () => {
  expect(isHead(`23:${HASH}`)).toBe(true);
  for (const text of ['', HASH, `:${HASH}`, `23:${HASH.slice(1)}`, `23:${HASH}0`, `23:${HASH.toUpperCase()}`, ` 23:${HASH}`])
    expect([text, isHead(text)]).toEqual([text, false]);
});

it('the last head of a text is found, and nothing that only looks like one', () => {
  expect(findHead(`The log holds. HEAD 23:${HASH}\n`)).toBe(`23:${HASH}`);
  expect(findHead(`2026-11-01 7:${HASH}\r\n2026-11-29 23:${HASH}\r\n`)).toBe(`23:${HASH}`);
  expect(findHead(`{"head":"23:${HASH}","seq":23}`)).toBe(`23:${HASH}`);
  for (const text of ['', 'HEAD none', `${HASH}:${HASH}`, `23:${HASH}ab`]) expect(findHead(text)).toBeUndefined();
});
