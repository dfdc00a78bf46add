/**
 * Passwords: scrypt, one check at a time. A check takes 32 MiB and 0.4 s of CPU time, so a flood of
 * sign-ins waits in a short queue. Persons who are signed in have a separate queue, which is served
 * first.
 */

import { createHmac, randomBytes, scrypt, type ScryptOptions, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { Problem } from '../problem.js';

/** In octets of UTF-8. */
export const MIN_PASSWORD = 12;
export const MAX_PASSWORD = 1_024;

export interface ScryptCost {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

const COST: ScryptCost = { N: 2 ** 15, r: 8, p: 3 };
const SALT_LENGTH = 16;
const HASH_LENGTH = 32;
/** Passwords of one queue that wait. At the bound a request is answered 503. */
const MAX_WAITING = 16;
const RETRY_AFTER_S = 5;

/** A password as it is stored, with the cost that it was hashed at. */
export interface PasswordHash extends ScryptCost {
  readonly salt: Uint8Array;
  readonly hash: Uint8Array;
}

/** `session`: for a person who is signed in. */
export type PasswordQueue = 'sign-in' | 'session';

const scryptAsync = promisify<Buffer, Uint8Array, number, ScryptOptions, Buffer>(scrypt);

export class Passwords {
  readonly #cost: ScryptCost;
  /** Hash to compare with if no password is stored, so that both cases take the same time. */
  readonly #nobody: PasswordHash;
  readonly #waiting: Readonly<Record<PasswordQueue, (() => void)[]>> = { session: [], 'sign-in': [] };
  #isBusy = false;

  /** @param cost of new passwords */
  constructor(cost: ScryptCost = COST) {
    this.#cost = cost;
    this.#nobody = { ...cost, salt: randomBytes(SALT_LENGTH), hash: randomBytes(HASH_LENGTH) };
  }

  /** @throws Problem if too many passwords wait */
  hash(password: string, queue: PasswordQueue): Promise<PasswordHash> {
    const salt = randomBytes(SALT_LENGTH);
    return this.#takeTurn(queue, async () => ({ ...this.#cost, salt, hash: await derive(password, salt, this.#cost) }));
  }

  /**
   * Returns true if the password is right. Takes the same time if no password is stored.
   *
   * @throws Problem if too many passwords wait
   */
  isRight(password: string, stored: PasswordHash | undefined, queue: PasswordQueue): Promise<boolean> {
    const { salt, hash, ...cost } = stored ?? this.#nobody;
    return this.#takeTurn(queue, async () => {
      const isEqual = timingSafeEqual(await derive(password, salt, cost), hash);
      return isEqual && stored !== undefined;
    });
  }

  async #takeTurn<T>(queue: PasswordQueue, work: () => Promise<T>): Promise<T> {
    if (this.#isBusy) {
      const waiting = this.#waiting[queue];
      if (waiting.length >= MAX_WAITING) throw new Problem('busy', { retryAfter: RETRY_AFTER_S });
      // The former check resolves this promise, so that no other check can intervene.
      await new Promise<void>((start) => waiting.push(start));
    }
    this.#isBusy = true;
    try {
      return await work();
    } finally {
      const next = this.#waiting.session.shift() ?? this.#waiting['sign-in'].shift();
      if (next === undefined) this.#isBusy = false;
      else next();
    }
  }
}

/** The same text in two Unicode forms is one password. */
export function passwordOctets(password: string): Buffer {
  return Buffer.from(password.normalize('NFC'), 'utf8');
}

async function derive(password: string, salt: Uint8Array, { N, r, p }: ScryptCost): Promise<Buffer> {
  const octets = passwordOctets(password);
  // scrypt pads with zeros: without this a password would be right with a NUL after it, too.
  const fixedLength = createHmac('sha256', salt).update(octets).digest();
  try {
    return await scryptAsync(fixedLength, salt, HASH_LENGTH, { N, r, p, maxmem: 256 * N * r });
  } finally {
    octets.fill(0);
    fixedLength.fill(0);
  }
}
