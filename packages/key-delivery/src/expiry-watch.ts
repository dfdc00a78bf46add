/**
 * Which keys have expired since subscribers were told of them, and which are good again. A clock
 * that was ahead, and is set back, calls good keys expired for a while, and nothing else in the
 * source changes with it.
 */

import { stateAt } from './key-lines.js';
import type { NodeKeys } from './key-source.js';

/** Expiries by ID_i, in ms since the epoch. */
type Expiries = Map<number, number>;

export class ExpiryWatch {
  /** Of nodes whose key subscribers have. */
  readonly #good: Expiries = new Map();
  /** Of nodes of which subscribers were told that their key has expired. */
  readonly #expired: Expiries = new Map();
  /** The first expiry of a good key. */
  #first = Infinity;
  /** The last expiry of an expired one. */
  #last = -Infinity;

  /** Takes note of what subscribers are told of a node at `now`. */
  note(keys: NodeKeys, now: number): void {
    const expiresAt = keys.current?.expiresAt;
    this.forget(keys.idI);
    if (keys.state === 'current' && expiresAt !== undefined) this.#put(keys.idI, expiresAt, stateAt(keys, now) === 'expired');
  }

  /** Of a node that has changed, subscribers will be told anew. */
  forget(idI: number): void {
    this.#good.delete(idI);
    this.#expired.delete(idI);
  }

  /** Returns the nodes of which subscribers know something else than what holds at `now`. */
  due(now: number): readonly number[] {
    if (now <= this.#first && now > this.#last) return [];
    const expired = [...this.#good].filter(([, expiresAt]) => now > expiresAt);
    const good = [...this.#expired].filter(([, expiresAt]) => now <= expiresAt);
    for (const [idI] of [...expired, ...good]) this.forget(idI);
    this.#first = least(this.#good.values());
    this.#last = -least([...this.#expired.values()].map((expiresAt) => -expiresAt));
    for (const [idI, expiresAt] of expired) this.#put(idI, expiresAt, true);
    for (const [idI, expiresAt] of good) this.#put(idI, expiresAt, false);
    return [...expired, ...good].map(([idI]) => idI);
  }

  #put(idI: number, expiresAt: number, isExpired: boolean): void {
    (isExpired ? this.#expired : this.#good).set(idI, expiresAt);
    if (isExpired) this.#last = Math.max(this.#last, expiresAt);
    else this.#first = Math.min(this.#first, expiresAt);
  }
}

/** `Infinity` if there are none. */
function least(values: Iterable<number>): number {
  let result = Infinity;
  for (const value of values) result = Math.min(result, value);
  return result;
}
