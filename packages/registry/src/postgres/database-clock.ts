/**
 * The one clock of all servers of a registry: that of its database, read with every read and write,
 * and carried on in between by the monotonic clock of this machine. No server's wall clock plays a
 * part. A machine that sleeps stops its monotonic clock: what a write decides by is therefore no
 * older than its own transaction.
 *
 * Servers also share a monotonic clock. With it a server detects at its start whether the
 * database's clock was set back since a server last read it. A starting server adopts that clock
 * from a running one. A server that runs alone continues it after a restart, until its machine
 * boots.
 */

import type { Clocks } from '@latchkey/protocol';
import type { Environment } from './environment.js';

/** A reading counts if its round trip took no longer than this, in ms: it is off by half of it. */
const MAX_ROUND_TRIP_MS = 500;
/** Without a reading for this long nothing is judged by the clock, in ms. */
const CLOCK_VALID_MS = 5_000;
/**
 * Clocks of two machines drift apart. The shared monotonic clock follows the database's by this at
 * most, as NTP slews a clock. A step therefore remains visible.
 */
const MAX_SLEW = 500e-6;

/** State with which the shared monotonic clock continues after a restart on this machine. */
export interface SharedMonotonic {
  /** Identifies the boot from which the machine's monotonic clock counts. */
  readonly boot: string;
  /** The shared monotonic clock minus the machine's, in ms. */
  readonly ahead: number;
}

export class DatabaseClock {
  /** Multiplies limits. */
  readonly #patience: number;
  readonly #machine: Pick<Environment, 'now' | 'monotonicNow' | 'bootId'>;
  /** The database's wall clock minus the machine's monotonic one. */
  #wallAhead = Number.NaN;
  /** The shared monotonic clock minus the machine's. */
  #sharedAhead: number | undefined;
  /** The database's wall clock minus the shared monotonic one, as it is to stay. */
  #offset: number | undefined;
  #readAt = -Infinity;

  constructor(patience: number, machine: Pick<Environment, 'now' | 'monotonicNow' | 'bootId'>) {
    this.#patience = patience;
    this.#machine = machine;
  }

  /** Takes a reading. Times of sending and arrival by `Environment.now`. */
  observe(sentAt: number, arrivedAt: number, wallMs: number): void {
    if (arrivedAt - sentAt > this.#patience * MAX_ROUND_TRIP_MS) return;
    const { now, monotonicNow } = this.#machine;
    const readAt = (sentAt + arrivedAt) / 2 + monotonicNow() - now();
    const elapsed = readAt - this.#readAt;
    if (elapsed <= 0) return;
    this.#wallAhead = wallMs - readAt;
    this.#readAt = readAt;
    if (this.#sharedAhead === undefined || this.#offset === undefined) return;
    const drift = this.#wallAhead - this.#sharedAhead - this.#offset;
    const most = MAX_SLEW * elapsed;
    this.#sharedAhead += Math.max(-most, Math.min(most, drift));
  }

  /**
   * The database's clock showed this before `arrivedAt`, by `Environment.now`. It counts where the
   * clock lags behind it by more than a reading is off: then the machine has slept since the last
   * one. So does a first one, however long it took.
   */
  catchUp(arrivedAt: number, wallMs: number): void {
    const { now, monotonicNow } = this.#machine;
    const wallAhead = wallMs - (arrivedAt + monotonicNow() - now());
    if (this.#wallAhead >= wallAhead - this.#patience * MAX_ROUND_TRIP_MS) return;
    this.#wallAhead = wallAhead;
  }

  /** Whether what it shows was read lately. */
  get isValid(): boolean {
    return this.#machine.monotonicNow() - this.#readAt <= this.#patience * CLOCK_VALID_MS;
  }

  /** ms since the epoch, whole; and ms. */
  readonly read: () => Clocks = () => this.readAhead(this.#sharedAhead);

  /** As `read`, once the shared monotonic clock is so far ahead of the machine's. */
  readAhead(ahead: number | undefined): Clocks {
    const now = this.#machine.monotonicNow();
    return { wallMs: Math.round(now + this.#wallAhead), monotonicMs: now + (ahead ?? -now) };
  }

  /**
   * Takes over the shared monotonic clock, as it was when the database's showed `wallMs`. After a
   * reading.
   */
  adopt(monotonicMs: number, wallMs: number): void {
    this.share(monotonicMs - wallMs + this.#wallAhead);
  }

  /**
   * Returns its offset from the machine's clock, if it continues after a restart. Returns
   * `undefined` if the machine has booted since.
   */
  resumed(shared: SharedMonotonic | undefined): number | undefined {
    return shared?.boot === this.#machine.bootId() ? shared.ahead : undefined;
  }

  /** The same of a new one, which follows on no other. */
  begun(): number {
    return -this.#machine.monotonicNow();
  }

  /** Sets the offset from the machine's clock. */
  share(ahead: number): void {
    this.#sharedAhead = ahead;
    this.#offset = this.#wallAhead - ahead;
  }

  get shared(): SharedMonotonic | undefined {
    return this.#sharedAhead === undefined ? undefined : { boot: this.#machine.bootId(), ahead: this.#sharedAhead };
  }
}
