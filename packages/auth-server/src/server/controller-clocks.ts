/**
 * Detects that this machine's clock is wrong, as far as a server can know. The clock counts as
 * wrong while it differs from the clock of every controller that sent a request. The data about
 * controllers are in memory only, and void once this machine's clock is set.
 */

import { BACKOFF, type Clocks } from '@latchkey/protocol';

/**
 * A refusal counts for this long, in ms: a refused node tries again sooner, so the fault shows
 * without a gap until it is mended.
 */
const COUNTS_MS: number = BACKOFF.last + 60_000;
/** The wall clock was set if it moved against the monotonic one by more than this, in ms. */
const STEP_MS = 1_000;
/** At this bound all records are deleted. */
const MAX_CONTROLLERS = 1_024;

/** The latest M2 of a controller. */
interface Latest {
  /** TS minus this machine's clock in ms, if it was outside the window. */
  skew: number | undefined;
  at: number;
  /** How far this machine's wall clock was ahead of the monotonic one, in ms. */
  ahead: number;
}

export class ControllerClocks {
  readonly #latest = new Map<number, Latest>();

  /** An M2 of controller `idC` was judged. `skew`: as in `Latest`. */
  judged(idC: number, skew: number | undefined, { wallMs, monotonicMs }: Clocks): void {
    const latest = this.#latest.get(idC);
    const ahead = wallMs - monotonicMs;
    if (latest !== undefined) {
      latest.skew = skew;
      latest.at = monotonicMs;
      latest.ahead = ahead;
      return;
    }
    if (this.#latest.size >= MAX_CONTROLLERS) this.#latest.clear();
    this.#latest.set(idC, { skew, at: monotonicMs, ahead });
  }

  /**
   * Why every join fails. Returns `undefined` if the clock of a known controller agrees, or no
   * controller is known.
   */
  fault({ wallMs, monotonicMs }: Clocks): string | undefined {
    const ahead = wallMs - monotonicMs;
    const known = [...this.#latest.values()].filter((latest) => Math.abs(ahead - latest.ahead) <= STEP_MS);
    if (known.some(({ skew }) => skew === undefined)) return undefined;
    const skews = known.flatMap(({ skew, at }) => (skew === undefined || monotonicMs - at >= COUNTS_MS ? [] : [Math.abs(skew)]));
    if (skews.length === 0) return undefined;
    const whose = skews.length === 1 ? 'the only controller that asks' : `all ${skews.length} controllers that ask`;
    return `requests are refused for their time: this machine's clock differs from that of ${whose}, by ${Math.round(Math.min(...skews) / 1000)} s`;
  }
}
