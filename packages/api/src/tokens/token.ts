/**
 * API tokens: `lk_`, an ID of 8 characters, 32 random octets, and a check that tells a mistyped
 * token from a revoked one, and lets secret scanners find a real one:
 *
 *   lk_ | ID 8 | secret 52 | check 6        base32 in lower case; check = SHA-256 of what is before
 *
 * Only the SHA-256 of a token is stored. The token has 256 random bits, so it needs no slow hash.
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const PREFIX = 'lk_';
const ID_LENGTH = 8;
const ID_OCTETS = 5;
const SECRET_OCTETS = 32;
const CHECK_LENGTH = 6;
const TOKEN = /^lk_([a-z2-7]{8})[a-z2-7]{52}[a-z2-7]{6}$/;
const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567';
const BITS_PER_CHARACTER = 5;

export interface NewToken {
  readonly id: string;
  /** Shown once. */
  readonly text: string;
  readonly hash: Uint8Array;
}

export function generateToken(): NewToken {
  const id = base32(randomBytes(ID_OCTETS));
  const unchecked = `${PREFIX}${id}${base32(randomBytes(SECRET_OCTETS))}`;
  const text = `${unchecked}${checkOf(unchecked)}`;
  return { id, text, hash: hashOf(text) };
}

/** Returns the ID of a token, or `undefined` if the text is no token. */
export function tokenId(text: string): string | undefined {
  const id = TOKEN.exec(text)?.[1];
  return id !== undefined && checkOf(text.slice(0, -CHECK_LENGTH)) === text.slice(-CHECK_LENGTH) ? id : undefined;
}

/** Whether the text is the token that has this hash, in constant time. */
export function isToken(text: string, hash: Uint8Array): boolean {
  return timingSafeEqual(hashOf(text), hash);
}

/** An ID as `token list` shows it. */
export function isTokenId(text: string): boolean {
  return text.length === ID_LENGTH && /^[a-z2-7]+$/.test(text);
}

function hashOf(text: string): Uint8Array {
  return createHash('sha256').update(text).digest();
}

function checkOf(text: string): string {
  return base32(hashOf(text)).slice(0, CHECK_LENGTH);
}

/** RFC 4648, in lower case, without padding. */
function base32(octets: Uint8Array): string {
  let text = '';
  let bits = 0;
  let pending = 0;
  for (const octet of octets) {
    pending = ((pending << 8) | octet) & 0xfff;
    bits += 8;
    for (; bits >= BITS_PER_CHARACTER; bits -= BITS_PER_CHARACTER)
      text += ALPHABET[(pending >> (bits - BITS_PER_CHARACTER)) & 0x1f];
  }
  return bits === 0 ? text : text + ALPHABET[(pending << (BITS_PER_CHARACTER - bits)) & 0x1f];
}
