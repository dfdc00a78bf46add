import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { clientAddress, isInNetworks, isNetwork, sourceOf } from '../src/tokens/networks.js';
import { generateToken, isToken, isTokenId, tokenId } from '../src/tokens/token.js';

/** Base32 of RFC 4648, by another way than the code under test. */
function fromBase32(text: string): Buffer {
  const bits = text
    .split('')
    .map((character) => 'abcdefghijklmnopqrstuvwxyz234567'.indexOf(character).toString(2).padStart(5, '0'));
  const octets = bits.join('').match(/.{8}/g) ?? [];
  return Buffer.from(octets.map((octet) => Number.parseInt(octet, 2)));
}

describe('a token', () => {
  it('has its ID, 32 random octets and a check, and its hash is the SHA-256 of all of it', () => {
    const { id, text, hash } = generateToken();
    expect(text).toMatch(/^lk_[a-z2-7]{66}$/);
    expect([text.slice(3, 11), tokenId(text), isTokenId(id)]).toEqual([id, id, true]);
    expect(fromBase32(text.slice(11, 63))).toHaveLength(32);
    expect(fromBase32(text.slice(63)).toString('hex')).toBe(
      createHash('sha256').update(text.slice(0, -6)).digest('hex').slice(0, 6),
    );
    expect(Buffer.from(hash).toString('hex')).toBe(createHash('sha256').update(text).digest('hex'));
  });

  it('is never the same twice', () => {
    expect(new Set(Array.from({ length: 1_000 }, () => generateToken().text)).size).toBe(1_000);
  });

  it('is none with any character changed, left out or added', () => {
    const { text } = generateToken();
    for (let i = 0; i < text.length; i++) {
      const changed = `${text.slice(0, i)}${text[i] === 'a' ? 'b' : 'a'}${text.slice(i + 1)}`;
      expect([i, tokenId(changed), tokenId(text.slice(0, i) + text.slice(i + 1))]).toEqual([i, undefined, undefined]);
    }
    expect([`${text}a`, ` ${text}`, text.toUpperCase(), ''].map(tokenId)).toEqual([undefined, undefined, undefined, undefined]);
  });

  it('is told from another one by its hash', () => {
    const [one, other] = [generateToken(), generateToken()];
    expect([isToken(one.text, one.hash), isToken(one.text, other.hash), isToken('', one.hash)]).toEqual([true, false, false]);
  });
});

describe('a network', () => {
  it.each(['192.0.2.7', '192.0.2.0/24', '0.0.0.0/0', '2001:db8::/32', '::1'])('%s is one', (text) => {
    expect(isNetwork(text)).toBe(true);
  });

  it.each(['', 'localhost', '192.0.2.0/33', '192.0.2/24', '2001:db8::/129', '::1/x', '1.2.3.4/', '/8'])('%j is none', (text) => {
    expect(isNetwork(text)).toBe(false);
  });

  it('has the addresses with its prefix, and no address that is not known', () => {
    const networks = ['192.0.2.0/24', '2001:db8::/32'];
    expect(
      ['192.0.2.255', '192.0.3.0', '2001:db8:ffff::1', '2001:db9::1', undefined, 'x'].map((one) => isInNetworks(one, networks)),
    ).toEqual([true, false, true, false, false, false]);
    expect(isInNetworks(undefined, [])).toBe(true);
  });

  it('of a rate limit is an IPv4 address, or a /64', () => {
    expect(['192.0.2.7', '2001:db8:0:1::5', '2001:db8:0:1:9:9:9:9', '::1', '1::', undefined].map(sourceOf)).toEqual([
      '192.0.2.7',
      '2001:db8:0:1',
      '2001:db8:0:1',
      '0:0:0:0',
      '1:0:0:0',
      'unknown',
    ]);
  });

  it('counts the address that the proxy wrote: the rightmost', () => {
    expect(['192.0.2.7', '10.0.0.1, 192.0.2.7', '192.0.2.7, evil', '::ffff:192.0.2.7', '', undefined].map(clientAddress)).toEqual(
      ['192.0.2.7', '192.0.2.7', undefined, '192.0.2.7', undefined, undefined],
    );
  });
});
