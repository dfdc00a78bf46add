/** What one server does about clocks that are set back: it keeps the times it shows in the registry, and refuses M7s of times that are past (runtime, times.ts). */

import {
  afterDiscontinuity,
  type Clock,
  ClockStepDetector,
  needsExtension,
  isCovered,
  type Log,
  findPreviousRange,
  rejectedUntil,
  type ClockHistory,
  extendTo,
} from '@latchkey/runtime';
import { isoTime } from './iso-time.js';
import { pastAhead } from './past-times.js';
import type { Registry } from './registry.js';

export class Timekeeper {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #watch: ClockStepDetector;
  /** As they were last read or written. */
  #times: ClockHistory;
  /** How many breaks the registry knows of. */
  #told = 0;
  #keeping: Promise<void> | undefined;

  constructor(registry: Registry, clock: Clock, log: Log) {
    this.#registry = registry;
    this.#clock = clock;
    this.#log = log;
    this.#times = registry.times;
    this.#watch = new ClockStepDetector(clock(), this.#times);
    if (this.#watch.observe(clock())) log.warn('the clock was set back: no key is committed for five minutes');
  }

  /** The time it is, ms since the epoch; `undefined` while it is not kept. */
  look(): number | undefined {
    const now = this.#clock();
    this.#watch.observe(now);
    return this.#watch.discontinuities === this.#told && isCovered(this.#times, now.wallMs) ? now.wallMs : undefined;
  }

  /** Why an M7 with this TS is not committed; `undefined`: it may be. After `look`. */
  refuses(ts: number): string | undefined {
    if (this.#watch.observe(this.#clock())) return 'the clock was set back less than five minutes ago';
    const span = findPreviousRange(this.#times, ts);
    if (span === undefined) return undefined;
    return `its TS is of a time that the clock showed before it was set back, or the machine started anew; such are refused until ${isoTime(rejectedUntil(this.#times, ts) ?? ts)}`;
  }

  /** Why no M7 of now is committed; `undefined` if it is. */
  fault(): string | undefined {
    const now = this.#clock();
    if (this.#watch.observe(now)) return 'no key is committed: the clock was set back less than five minutes ago';
    const until = rejectedUntil(this.#times, now.wallMs);
    if (until === undefined) return undefined;
    return `no key is committed until ${isoTime(until)}: the clock shows times that it showed before it was set back, or the machine started anew`;
  }

  /** What an administrator has changed, or another server. */
  readAgain(): void {
    if (this.#keeping === undefined) this.#times = this.#registry.times;
  }

  /** Keeps the time where that is due. Resolves when the disk has it. */
  async keep(): Promise<void> {
    const now = this.#clock();
    this.#watch.observe(now);
    if (this.#watch.discontinuities === this.#told && !needsExtension(this.#times, now.wallMs)) return;
    this.#keeping ??= this.#write().finally(() => {
      this.#keeping = undefined;
    });
    await this.#keeping;
  }

  async #write(): Promise<void> {
    const now = this.#clock();
    this.#watch.observe(now);
    const { discontinuities, steppedBackAt } = this.#watch;
    const broken = discontinuities !== this.#told;
    this.#times = await this.#registry.keepTimes(
      (times) => (broken ? afterDiscontinuity(times, now, steppedBackAt) : extendTo(times, now)),
      now.wallMs,
      broken ? this.#whyBroken(now.monotonicMs) : undefined,
    );
    this.#told = discontinuities;
    if (broken) this.#tellOfBreak(now.wallMs);
  }

  #whyBroken(steady: number): string {
    const { steppedBackAt } = this.#watch;
    return steppedBackAt === undefined || steppedBackAt < steady - 60_000
      ? 'nobody knows whether the clock ran on since a server last kept the time'
      : 'the clock was set back';
  }

  #tellOfBreak(wall: number): void {
    const spans = pastAhead(this.#times, wall).map(({ from, until }) => ({ from: isoTime(from), until: isoTime(until) }));
    if (spans.length === 0) return;
    this.#log.warn(
      { spans, advice: 'If that is too long: docs/OPERATIONS.md, "Clocks".' },
      'no key is committed while the clock shows times that it has shown before',
    );
  }
}
