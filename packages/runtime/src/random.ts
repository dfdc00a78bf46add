import { randomFillSync } from 'node:crypto';

/** Octets drawn from the system's generator at once: a call to it costs as much as the rest of what a request draws. */
const POOL = 4_096;

const pool: Uint8Array = new Uint8Array(POOL);
let used = POOL;

/** `length` octets from the system's generator, each handed out once: the pool forgets what it gave. At most 4,096. */
export function drawOctets(length: number): Uint8Array {
  if (length > POOL) throw new RangeError(`at most ${POOL} octets are drawn at once`);
  if (used + length > POOL) {
    randomFillSync(pool);
    used = 0;
  }
  const drawn = pool.slice(used, used + length);
  pool.fill(0, used, used + length);
  used += length;
  return drawn;
}
