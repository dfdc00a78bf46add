/**
 * Secrets that are made here: 32 random octets in base64url. They need no slow hash, so a store has
 * their SHA-256.
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

const SECRET = /^[A-Za-z0-9_-]{43}$/;
const LENGTH = 32;

export function generateSecret(): string {
  return randomBytes(LENGTH).toString('base64url');
}

/** Returns `undefined` for a text that is no secret of `generateSecret`. */
export function hashOfSecret(text: string | undefined): Buffer | undefined {
  return text !== undefined && SECRET.test(text) ? createHash('sha256').update(text).digest() : undefined;
}

/** In constant time. */
export function isSecret(text: string | undefined, hash: Uint8Array): boolean {
  const given = hashOfSecret(text);
  return given !== undefined && timingSafeEqual(given, hash);
}
