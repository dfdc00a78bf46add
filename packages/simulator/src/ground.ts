/** What all in a world stand on: its time, its faults, its record of what happened. */

import { Chance, hashText, mix } from './chance.js';
import { Faults } from './faults.js';
import { Timeline } from './timeline.js';

/** Simulated time starts here, in ms since the epoch. */
const EPOCH = 1_795_000_000_000;

/** An invariant does not hold. */
export class Violation extends Error {
  /** The number of the invariant, or what else was promised. */
  readonly invariant: Invariant;

  constructor(invariant: Invariant, what: string) {
    super(what);
    this.name = 'Violation';
    this.invariant = invariant;
  }
}

/** The seven of docs/PROTOCOL.md; `liveness`: every honest node joins once faults end; `crash`: a role throws. */
export type Invariant = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 'liveness' | 'crash';

export class Ground {
  readonly seed: number;
  readonly timeline: Timeline = new Timeline();
  readonly faults: Faults;
  /** What happened, in words; kept only where somebody wants to read it. */
  readonly log: string[] | undefined;
  readonly #hashes = new Map<string, number>();
  #hash = 0x811c9dc5;
  #events = 0;

  constructor(seed: number, options: { readonly only?: readonly string[] | undefined; readonly trace?: boolean | undefined }) {
    this.seed = seed;
    this.faults = new Faults(seed, options.only);
    this.log = options.trace === true ? [] : undefined;
  }

  get now(): number {
    return this.timeline.now;
  }

  /** The true time, ms since the epoch. */
  get trueTime(): number {
    return EPOCH + this.now;
  }

  chance(stream: string): Chance {
    return new Chance(this.seed, stream);
  }

  get events(): number {
    return this.#events;
  }

  /** Two runs with one hash went the same way. */
  get hash(): string {
    return this.#hash.toString(16).padStart(8, '0');
  }

  /** Something happened to `who`. The octets of a message, if there is one, count for the hash. */
  note(who: string, what: string, octets?: Uint8Array): void {
    this.#events += 1;
    this.#hash = mix(mix(this.#hash, this.now), mix(this.#textHash(who), this.#textHash(what)));
    if (octets !== undefined) for (const octet of octets) this.#hash = Math.imul(this.#hash ^ octet, 0x01000193) >>> 0;
    this.log?.push(`${(this.now / 1000).toFixed(3).padStart(9)}  ${who.padEnd(4)} ${what}`);
  }

  #textHash(text: string): number {
    const known = this.#hashes.get(text);
    if (known !== undefined) return known;
    const hash = hashText(text);
    if (this.#hashes.size < 4096) this.#hashes.set(text, hash);
    return hash;
  }
}
