// Proves that nonces of the link differ where what is sealed differs, be the generator set back,
// and that they follow from nothing else.

import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeLinkRequest, encodeM1, type LinkRequest } from '../src/messages.js';
import { linkNonce } from '../src/nonce.js';
import { Respondent } from '../src/respondent.js';
import { openLinkRequest, sealAnswer } from '../src/server.js';
import { seededRandomBytes, hex, octets, secret } from './fixtures.js';

const SK_CS = secret(0xcc);
const bytes = fc.uint8Array({ minLength: 13, maxLength: 13 });

/**
 * The request with which a controller asks for a node; its generator is always at the same point.
 */
function requestFor(idI: number): LinkRequest {
  const respondent = new Respondent({
    idC: 1,
    skCs: SK_CS,
    bounds: { total: 8, perSource: 8 },
    randomBytes: seededRandomBytes('set back'),
    nextTid: () => 7n,
  });
  const source = { address: 'a', prefix: 'a', nid: new Uint8Array(18), addressValidated: true };
  const decision = respondent.receiveM1(encodeM1({ idI, rnI: new Uint8Array(16) }), source, {
    wallMs: 1_795_000_000_000,
    monotonicMs: 0,
  });
  if (decision.kind !== 'forward' || decision.transaction.request === undefined) throw new Error(decision.kind);
  return decodeLinkRequest(decision.transaction.request);
}

describe('a nonce of the link', () => {
  it('has 13 octets that follow from key, random octets and what is sealed', () => {
    expect(hex(linkNonce(SK_CS, new Uint8Array(13), octets('12')))).toBe(hex(linkNonce(SK_CS, new Uint8Array(13), octets('12'))));
    expect(linkNonce(SK_CS, new Uint8Array(13), octets('12'))).toHaveLength(13);
  });

  it('is another for other random octets, another text, another key', () => {
    fc.assert(
      fc.property(bytes, bytes, fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ maxLength: 200 }), (a, b, text, other) => {
        const nonce = hex(linkNonce(SK_CS, a, text));
        expect(hex(linkNonce(secret(0xdd), a, text))).not.toBe(nonce);
        expect(hex(linkNonce(SK_CS, b, text)) === nonce).toBe(hex(a) === hex(b));
        expect(hex(linkNonce(SK_CS, a, other)) === nonce).toBe(hex(text) === hex(other));
      }),
    );
  });

  it('of two M2 is not the same where the generator was set back between them', () => {
    const [one, same, other] = [requestFor(1), requestFor(1), requestFor(2)];
    expect(hex(one.octets)).toBe(hex(same.octets));
    expect(hex(one.nonce)).not.toBe(hex(other.nonce));
  });

  it('of two answers is not the same where the generator was set back between them', () => {
    const random = new Uint8Array(13).fill(5);
    const nonces = [1, 2].flatMap((idI) => {
      const request = requestFor(idI);
      const opened = openLinkRequest(request, SK_CS)!;
      const answers = [
        sealAnswer(request, opened, { kind: 'answer', with: 'M3', key: secret(1) }, random, SK_CS),
        sealAnswer(request, opened, { kind: 'answer', with: 'M3', key: secret(2) }, random, SK_CS),
        sealAnswer(request, opened, { kind: 'answer', with: 'M8', lifetime: 1 }, random, SK_CS),
        sealAnswer(request, opened, { kind: 'answer', with: 'M8', lifetime: 2 }, random, SK_CS),
        sealAnswer(request, opened, { kind: 'refuse', refusal: 'disabled' }, random, SK_CS),
        sealAnswer(request, opened, { kind: 'refuse', refusal: 'expired' }, random, SK_CS),
      ];
      return answers.map((answer) => hex(answer.subarray(1, 14)));
    });
    expect(new Set(nonces).size).toBe(12);
  });
});
