import { randomFillSync } from 'node:crypto';

/**
 * Octets that are read from the system's generator at once. One call to it costs as much as all
 * random octets of a request otherwise.
 */
const POOL_SIZE = 4_096;

const pool: Uint8Array = new Uint8Array(POOL_SIZE);
let used = POOL_SIZE;

/**
 * Returns `length` octets from the system's generator, at most 4,096. No octet is returned twice:
 * the pool erases what it returned.
 */
export function randomOctets(length: number): Uint8Array {
  if (length > POOL_SIZE) throw new RangeError(`at most ${POOL_SIZE} octets are drawn at once`);
  if (used + length > POOL_SIZE) {
    randomFillSync(pool);
    used = 0;
  }
  const octets = pool.slice(used, used + length);
  pool.fill(0, used, used + length);
  used += length;
  return octets;
}
