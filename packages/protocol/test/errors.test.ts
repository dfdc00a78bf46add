// Proves the profile's table of failures: the reason M9 carries, the CoAP code, and whether it says
// when to try again.

import { describe, expect, it } from 'vitest';
import { tryDecode, MalformedMessage, retryAfterSeconds, type Refusal, refusalFromReason, REFUSALS } from '../src/errors.js';

const TABLE: Record<Refusal, readonly [reason: number | undefined, code: string, maxAge: boolean]> = {
  malformed: [undefined, '4.00', false],
  notAuthentic: [undefined, '4.01', false],
  clock: [6, '5.03', false],
  unknownNode: [1, '4.03', false],
  notAssigned: [2, '4.03', false],
  disabled: [3, '4.03', false],
  expired: [5, '4.03', false],
  outsideJoinWindow: [4, '4.03', false],
  proofFailed: [7, '4.01', false],
  overloaded: [8, '5.03', true],
  storeFailed: [9, '5.03', true],
  noTransaction: [undefined, '4.04', false],
  rateLimited: [undefined, '4.29', true],
  serverUnavailable: [undefined, '5.04', false],
};

describe('refusals', () => {
  it.each(Object.keys(REFUSALS) as Refusal[])('%s', (refusal) => {
    const entry: object & { readonly code: string } = REFUSALS[refusal];
    const reason = 'reason' in entry ? entry.reason : undefined;
    expect([reason, entry.code, retryAfterSeconds(refusal) !== undefined]).toEqual(TABLE[refusal]);
  });

  it('every reason octet from 0 to 255 is read as the refusal it stands for, or none', () => {
    const refusals = Object.entries(TABLE);
    for (let octet = 0; octet <= 255; octet++)
      expect(refusalFromReason(octet)).toBe(refusals.find(([, [reason]]) => reason === octet)?.[0]);
  });
});

function throwing(error: Error): () => never {
  return () => {
    throw error;
  };
}

it('tryDecode takes a malformed message for undefined, and no other error', () => {
  const none = new Uint8Array(0);
  expect(tryDecode(throwing(new MalformedMessage('M1', none, 21)), none)).toBeUndefined();
  expect(() => tryDecode(throwing(new RangeError('a mistake')), none)).toThrow('a mistake');
});
