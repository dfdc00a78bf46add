/**
 * Who gets served when more is asked than can be: while it lasts, every source waits the same time between two requests that are
 * served, just long enough that all together come to so many a second. A source that asks seldom is served whoever else asks how often, one that
 * asks alone gets all there is. What nobody asked for is saved, a second's worth at most: nodes that all begin at once, some behind one address, are
 * no flood.
 *
 * When a source was last served stands in tables of fixed size, in two places that depend on a secret: a source that shares one of
 * them with a busy one has the other.
 */

import { randomInt } from 'node:crypto';

const PLACES = 2 ** 17;
/** How often the wait is fitted to what is asked, in ms. */
const WINDOW_MS = 50;
/** How much of what is missing or too much it makes up for in one step; all of it at once would overshoot. */
const GAIN = 0.25;
/** Where far too many are served it doubles: up from the least to seconds takes less than one. */
const FAR_TOO_MANY = 3;
/** A sudden flood is faster than the steps: more than so many times what is meant, and what was saved, are not served in one window. */
const CAP = 4;
const LONGEST_WAIT_MS = 10_000;

export class FairShare {
  readonly #perSecond: number;
  readonly #perWindow: number;
  readonly #leastWait: number;
  readonly #tables: readonly Table[] = [new Table(), new Table()];
  #windowEnds = 0;
  /** How many more than so many a second may be served, since fewer were before. */
  #saved = 0;
  /** In this window: how many asked, and how many of them had waited long enough. */
  #asked = 0;
  #waited = 0;
  /** Between two requests of one source, in ms; 0 while there is enough for all. */
  #wait = 0;

  constructor(perSecond: number) {
    this.#perSecond = perSecond;
    this.#perWindow = (perSecond * WINDOW_MS) / 1_000;
    this.#leastWait = 1_000 / perSecond;
  }

  /** Whether a request of `source` at `steady` ms is served. */
  grants(source: string, steady: number): boolean {
    if (steady >= this.#windowEnds) this.#beginWindow(steady);
    this.#asked += 1;
    // Not quite the same for all, so that they do not come in step.
    const wait = this.#wait * (0.5 + Math.random());
    if (!this.#tables.some((table) => steady - table.lastServed(source) >= wait)) return false;
    this.#waited += 1;
    if (this.#waited > CAP * this.#perWindow + this.#saved) return false;
    for (const table of this.#tables) table.serve(source, steady);
    return true;
  }

  #beginWindow(steady: number): void {
    const windows = 1 + Math.floor((steady - this.#windowEnds) / WINDOW_MS);
    this.#saved = Math.min(this.#perSecond, this.#saved + windows * this.#perWindow - this.#asked);
    if (this.#saved >= 0) this.#wait = 0;
    else {
      const tooMany = Math.max(this.#waited, 1) / this.#perWindow;
      const factor = tooMany > FAR_TOO_MANY ? 2 : tooMany ** GAIN;
      this.#wait = Math.min(LONGEST_WAIT_MS, Math.max(this.#leastWait, this.#wait * factor));
    }
    this.#saved = Math.max(0, this.#saved);
    this.#windowEnds = steady + WINDOW_MS;
    this.#asked = 0;
    this.#waited = 0;
  }
}

class Table {
  readonly #salt = randomInt(2 ** 32);
  readonly #servedAt = new Float64Array(PLACES).fill(-Infinity);

  lastServed(source: string): number {
    return this.#servedAt[this.#placeOf(source)] ?? 0;
  }

  serve(source: string, steady: number): void {
    this.#servedAt[this.#placeOf(source)] = steady;
  }

  /** FNV-1a over the text, from a secret start. Who can forge sources need not find two that collide. */
  #placeOf(source: string): number {
    let value = this.#salt;
    for (let i = 0; i < source.length; i++) value = Math.imul(value ^ source.charCodeAt(i), 0x01000193);
    value ^= value >>> 15;
    return (value ^ (value >>> 7)) & (PLACES - 1);
  }
}
