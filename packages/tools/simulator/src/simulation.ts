/** Context that all parts of a world share: time, faults, and the record of events. */

import { SeededRandom, hashText, mix } from '@latchkey/test-support/seeded-random';
import { FaultPlan } from './fault-plan.js';
import { EventQueue } from './event-queue.js';

/** Simulated time starts here, in ms since the epoch. */
const SIMULATION_EPOCH = 1_795_000_000_000;

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

/**
 * Those of docs/PROTOCOL.md; `liveness`: every honest node joins once faults end; `crash`: a
 * role throws. Of a shared registry, `acknowledged`: what was said to be written, or not to be, is
 * so; `chain`: its audit log holds.
 */
export type Invariant = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9 | 'liveness' | 'crash' | 'acknowledged' | 'chain';

export class Simulation {
  readonly seed: number;
  readonly events: EventQueue = new EventQueue();
  readonly faults: FaultPlan;
  /** Trace of events as text, recorded only if it will be printed. */
  readonly trace: string[] | undefined;
  readonly #hashes = new Map<string, number>();
  #hash = 0x811c9dc5;
  #eventCount = 0;
  /** Whether promises may have been kept since `settle`. */
  #isUnsettled = false;
  #failure: { readonly error: unknown } | undefined;

  constructor(seed: number, options: { readonly only?: readonly string[] | undefined; readonly trace?: boolean | undefined }) {
    this.seed = seed;
    this.faults = new FaultPlan(seed, options.only);
    this.trace = options.trace === true ? [] : undefined;
  }

  get now(): number {
    return this.events.now;
  }

  /** The true time, ms since the epoch. */
  get trueTime(): number {
    return SIMULATION_EPOCH + this.now;
  }

  random(stream: string): SeededRandom {
    return new SeededRandom(this.seed, stream);
  }

  /** Work of a role that waits for promises. What it throws ends the world. */
  run(work: () => Promise<unknown>): void {
    this.#isUnsettled = true;
    work().catch((error: unknown) => (this.#failure ??= { error }));
  }

  /** A promise was resolved: its waiters continue before the next event. */
  unsettled(): void {
    this.#isUnsettled = true;
  }

  get isUnsettled(): boolean {
    return this.#isUnsettled;
  }

  /**
   * All that can go on has gone on when this resolves, in an order that no timer has a part in: the
   * engine's microtasks come before its next turn.
   */
  async settle(): Promise<void> {
    await new Promise((resolve) => {
      setImmediate(resolve);
    });
    this.#isUnsettled = false;
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  get eventCount(): number {
    return this.#eventCount;
  }

  /** Two runs with one hash went the same way. */
  get hash(): string {
    return this.#hash.toString(16).padStart(8, '0');
  }

  /** Something happened to `who`. The octets of a message, if there is one, count for the hash. */
  record(who: string, what: string, octets?: Uint8Array): void {
    this.#eventCount += 1;
    this.#hash = mix(mix(this.#hash, this.now), mix(this.#textHash(who), this.#textHash(what)));
    if (octets !== undefined) for (const octet of octets) this.#hash = Math.imul(this.#hash ^ octet, 0x01000193) >>> 0;
    this.trace?.push(`${(this.now / 1000).toFixed(3).padStart(9)}  ${who.padEnd(4)} ${what}`);
  }

  #textHash(text: string): number {
    const known = this.#hashes.get(text);
    if (known !== undefined) return known;
    const hash = hashText(text);
    if (this.#hashes.size < 4096) this.#hashes.set(text, hash);
    return hash;
  }
}
