/**
 * Tracks which keys have expired, or became valid again, since subscribers were notified. While a
 * clock is ahead, valid keys count as expired. When it is set back, nothing else in the source
 * changes.
 */

import { stateAt } from './key-lines.js';
import type { NodeKeys } from './key-source.js';

/** Expiries by ID_i, in ms since the epoch. */
type Expiries = Map<number, number>;

export class ExpiryWatch {
  /** Of nodes whose key subscribers have. */
  readonly #good: Expiries = new Map();
  /** Nodes whose key subscribers know as expired. */
  readonly #expired: Expiries = new Map();
  /** The first expiry of a good key. */
  #first = Infinity;
  /** The last expiry of an expired one. */
  #last = -Infinity;

  /** Records the state that subscribers get of a node at `now`. */
  note(keys: NodeKeys, now: number): void {
    const expiresAt = keys.current?.expiresAt;
    this.forget(keys.idI);
    if (keys.state === 'current' && expiresAt !== undefined) this.#put(keys.idI, expiresAt, stateAt(keys, now) === 'expired');
  }

  /** Deletes the record of a changed node, because subscribers will be notified of it again. */
  forget(idI: number): void {
    this.#good.delete(idI);
    this.#expired.delete(idI);
  }

  /** Returns the nodes whose state at `now` differs from the one that subscribers have. */
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
