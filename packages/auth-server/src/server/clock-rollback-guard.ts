/**
 * Handles a clock that was set back. The server stores in the registry which times its clock shows,
 * and rejects an M7 from a past time (`ClockHistory` in protocol/src/clock-history.ts).
 */

import {
  afterDiscontinuity,
  needsExtension,
  isCovered,
  findPreviousRange,
  rejectedUntil,
  type ClockHistory,
  extendTo,
} from '@latchkey/protocol';
import { type Clock, ClockStepDetector, type Log } from '@latchkey/runtime/daemon';
import { isoTime } from '@latchkey/runtime/iso-time';
import { blockedRanges } from '@latchkey/operations';
import { InDoubt, type Registry } from '@latchkey/registry';

/** Writes in doubt that are remembered. One that is forgotten is done again. */
const MAX_IN_DOUBT = 16;

export class ClockRollbackGuard {
  readonly #registry: Registry;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #stepDetector: ClockStepDetector;
  /** The times as last read or written. */
  #history: ClockHistory;
  /** Discontinuities that are stored in the registry. */
  #persistedSteps = 0;
  /** When writes of a discontinuity began that ended in doubt, ms since the epoch. */
  #inDoubt: { readonly discontinuities: number; readonly writes: readonly number[] } = { discontinuities: 0, writes: [] };
  #persisting: Promise<void> | undefined;

  constructor(registry: Registry, clock: Clock, log: Log) {
    this.#registry = registry;
    this.#clock = clock;
    this.#log = log;
    this.#history = registry.clockHistory;
    this.#stepDetector = new ClockStepDetector(clock(), this.#history);
    if (this.#stepDetector.observe(clock())) log.warn('the clock was set back: no key is committed for five minutes');
  }

  /** Returns the time in ms since the epoch, or `undefined` while that time is not stored. */
  trustedNow(): number | undefined {
    const now = this.#clock();
    this.#stepDetector.observe(now);
    return this.#stepDetector.discontinuities === this.#persistedSteps && isCovered(this.#history, now.wallMs)
      ? now.wallMs
      : undefined;
  }

  /**
   * Returns why an M7 with this TS is rejected, or `undefined` if it may be committed. Call
   * `trustedNow` before.
   */
  rejectionReason(ts: number): string | undefined {
    if (this.#stepDetector.observe(this.#clock())) return 'the clock was set back less than five minutes ago';
    const span = findPreviousRange(this.#history, ts);
    if (span === undefined) return undefined;
    return `its TS is of a time that the clock showed before it was set back, or the machine started anew; such are refused until ${isoTime(rejectedUntil(this.#history, ts) ?? ts)}`;
  }

  /** Returns why no M7 with a TS of now is committed, or `undefined` if it may be. */
  fault(): string | undefined {
    const now = this.#clock();
    if (this.#stepDetector.observe(now)) return 'no key is committed: the clock was set back less than five minutes ago';
    const until = rejectedUntil(this.#history, now.wallMs);
    if (until === undefined) return undefined;
    return `no key is committed until ${isoTime(until)}: the clock shows times that it showed before it was set back, or the machine started anew`;
  }

  /** Reads what an administrator or another server has changed. */
  reload(): void {
    if (this.#persisting === undefined) this.#history = this.#registry.clockHistory;
  }

  /** Stores the time if that is due. Resolves when the write is durable. */
  async persist(): Promise<void> {
    const now = this.#clock();
    this.#stepDetector.observe(now);
    if (this.#stepDetector.discontinuities === this.#persistedSteps && !needsExtension(this.#history, now.wallMs)) return;
    this.#persisting ??= this.#write().finally(() => {
      this.#persisting = undefined;
    });
    await this.#persisting;
  }

  async #write(): Promise<void> {
    const now = this.#clock();
    this.#stepDetector.observe(now);
    const { discontinuities, steppedBackAt } = this.#stepDetector;
    const isDiscontinuous = discontinuities !== this.#persistedSteps;
    try {
      this.#history =
        (await this.#findWritten(discontinuities)) ??
        (await this.#registry.saveClockHistory(
          (times) => (isDiscontinuous ? afterDiscontinuity(times, now, steppedBackAt) : extendTo(times, now)),
          now.wallMs,
          isDiscontinuous ? this.#discontinuityCause(now.monotonicMs) : undefined,
        ));
    } catch (error) {
      if (isDiscontinuous && error instanceof InDoubt)
        this.#inDoubt = {
          discontinuities,
          writes: [...this.#writesInDoubt(discontinuities), now.wallMs].slice(-MAX_IN_DOUBT),
        };
      throw error;
    }
    this.#persistedSteps = discontinuities;
    if (isDiscontinuous) this.#logDiscontinuity(now.wallMs);
  }

  /**
   * Returns the stored times if a write in doubt has happened. Done again, it would make the times
   * since then previous ones, and M7 of now would be rejected.
   */
  async #findWritten(discontinuities: number): Promise<ClockHistory | undefined> {
    const writes = this.#writesInDoubt(discontinuities);
    if (writes.length === 0 || discontinuities === this.#persistedSteps) return undefined;
    const stored = await this.#registry.readClockHistory();
    return writes.includes(stored.current[0]?.from ?? Number.NaN) ? stored : undefined;
  }

  /** Empty if the clock was set back again since: that is stored anew. */
  #writesInDoubt(discontinuities: number): readonly number[] {
    return this.#inDoubt.discontinuities === discontinuities ? this.#inDoubt.writes : [];
  }

  #discontinuityCause(steady: number): string {
    const { steppedBackAt } = this.#stepDetector;
    return steppedBackAt === undefined || steppedBackAt < steady - 60_000
      ? 'nobody knows whether the clock ran on since a server last kept the time'
      : 'the clock was set back';
  }

  #logDiscontinuity(wall: number): void {
    const spans = blockedRanges(this.#history, wall).map(({ from, until }) => ({ from: isoTime(from), until: isoTime(until) }));
    if (spans.length === 0) return;
    this.#log.warn(
      { spans, advice: 'If that is too long: docs/OPERATIONS.md, "Clocks".' },
      'no key is committed while the clock shows times that it has shown before',
    );
  }
}
