// Proves that M12 and M13 agree octet for octet with an independent implementation, in both roles.
// vectors/key-feed.json was made by that implementation; nothing in it comes from this package.

import { describe, expect, it } from 'vitest';
import { KeyFeedClient } from '../src/key-feed-client.js';
import { decodeM12, type KeyFeedEntry, openM12, openM13, sealM12, sealM13WithNonce } from '../src/key-feed-messages.js';
import { isFeedRequestInTime } from '../src/key-feed-server.js';
import { tryDecode } from '../src/errors.js';
import { Secret } from '../src/secret.js';
import { flipped, hex, octets, resized } from './fixtures.js';
import keyFeed from './vectors/key-feed.json' with { type: 'json' };

const feed = keyFeed.key_feed;
const skCs = Secret.fromHex(feed.SK_cs);
const [idC, tid] = [Number.parseInt(feed.ID_c, 16), BigInt(`0x${feed.TID}`)];
const m12 = octets(feed.M12);
const STATES = ['current', 'initial', 'disabled', 'removed', 'moved', 'expired'] as const;

/** What the vector says of each entry, read by this test itself. */
const entries: KeyFeedEntry[] = feed.entries.map((digits) => {
  const view = Buffer.from(digits, 'hex');
  const state = STATES[view[4]!]!;
  return {
    idI: view.readUInt32BE(0),
    state,
    expiry: Number(view.readBigUInt64BE(5)),
    tid: view.readBigUInt64BE(13),
    applicationRoot: state === 'current' ? Secret.from(view.subarray(21, 37)) : undefined,
  };
});

function bitsOf(given: Uint8Array): number[] {
  return Array.from({ length: given.length * 8 }, (_, bit) => bit);
}

describe('the vectors of the key feed', () => {
  it('seal to the same M12, and open', () => {
    const request = decodeM12(m12);
    const body = { ts: BigInt(feed.TS), cursor: BigInt(feed.cursor) };
    expect(request).toMatchObject({ idC, tid });
    expect(openM12(request, skCs)).toEqual(body);
    expect(hex(sealM12({ idC, tid, nonce: request.nonce }, body, skCs))).toBe(feed.M12);
  });

  it.each([
    ['M13', 3],
    ['M13_empty', 0],
    ['M13_full', 12],
  ] as const)('seal to the same %s, and open', (name, count) => {
    const m13 = octets(feed[name]);
    const opened = openM13(m13, m12, skCs)!;
    expect(opened.entries).toHaveLength(count);
    expect(hex(sealM13WithNonce(opened, m13.slice(1, 14), m12, skCs))).toBe(feed[name]);
  });

  it('hold the entries that the vector names', () => {
    expect(openM13(octets(feed.M13), m12, skCs)).toMatchObject({ cursor: BigInt(feed.answer_cursor), entries });
  });

  it('have the longest M13 at the length the profile names', () => {
    expect(octets(feed.M13_full)).toHaveLength(feed.M13_full_octets);
  });

  it('count at their time, as M2 does', () => {
    const body = openM12(decodeM12(m12), skCs)!;
    for (const [offset, inTime] of [
      [30_000, true],
      [30_001, false],
      [-30_000, true],
      [-30_001, false],
    ] as const)
      expect(isFeedRequestInTime(body, feed.TS + offset)).toBe(inTime);
  });

  it('are what a client makes of the same draws, but for the nonce', () => {
    const client = new KeyFeedClient({
      idC,
      skCs: skCs.copy(),
      cursor: BigInt(feed.cursor),
      randomBytes: (n) => new Uint8Array(n),
      nextTid: () => tid,
    });
    const request = client.begin({ wallMs: feed.TS, monotonicMs: 0 })!;
    expect(hex(request.subarray(0, 13))).toBe(feed.M12.slice(0, 26));
    const nonce = request.slice(13, 26);
    expect(hex(sealM12({ idC, tid, nonce }, { ts: BigInt(feed.TS), cursor: BigInt(feed.cursor) }, skCs))).toBe(hex(request));
    // An answer to another M12 is none.
    expect(client.receive(octets(feed.M13), 0)).toEqual({ kind: 'ignored' });
  });

  it('open under no other key, request, bit or length', () => {
    const m13 = octets(feed.M13);
    const open12 = (given: Uint8Array): unknown => {
      const request = tryDecode(decodeM12, given);
      return request && openM12(request, skCs);
    };
    const lengths = Array.from({ length: 520 }, (_, length) => length);
    expect(bitsOf(m12).filter((bit) => open12(flipped(m12, bit)) !== undefined)).toEqual([]);
    expect(bitsOf(m12).filter((bit) => openM13(m13, flipped(m12, bit), skCs) !== undefined)).toEqual([]);
    expect(bitsOf(m13).filter((bit) => openM13(flipped(m13, bit), m12, skCs) !== undefined)).toEqual([]);
    expect(lengths.filter((length) => open12(resized(m12, length)) !== undefined)).toEqual([m12.length]);
    expect(lengths.filter((length) => openM13(resized(m13, length), m12, skCs) !== undefined)).toEqual([m13.length]);
    expect(openM13(m13, m12, Secret.from(new Uint8Array(16)))).toBeUndefined();
  });
});
