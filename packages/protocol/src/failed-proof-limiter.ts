import { TRANSACTION_LIFETIME_MS } from './constants.js';
import type { Source } from './source.js';

/**
 * Counts recent wrong M5 per source: by address, or by network if only the auth-server can detect a
 * wrong M5. A forged source address counts against unvalidated sources only.
 */
export class FailedProofLimiter {
  /** Sources of either kind that are stored; at the bound the first one is evicted. */
  static readonly #MAX_SOURCES = 1024;
  /**
   * Wrong M5 from one source in one transaction's life before it must prove its address, and proven
   * before it is refused.
   */
  static readonly #MAX_FAILURES = 16;

  readonly #validated = new Map<string, FailureCount>();
  readonly #unvalidated = new Map<string, FailureCount>();

  isLimited(source: CountedSource, monotonicMs: number, by: 'address' | 'prefix' = 'address'): boolean {
    const entry = this.#table(source).get(source[by]);
    return (
      entry !== undefined &&
      monotonicMs - entry.since < TRANSACTION_LIFETIME_MS &&
      entry.failures >= FailedProofLimiter.#MAX_FAILURES
    );
  }

  record(source: CountedSource, monotonicMs: number, by: 'address' | 'prefix' = 'address'): void {
    const table = this.#table(source);
    const entry = table.get(source[by]);
    if (entry !== undefined && monotonicMs - entry.since < TRANSACTION_LIFETIME_MS) {
      entry.failures += 1;
      return;
    }
    table.delete(source[by]);
    for (const oldest of table.keys()) {
      if (table.size < FailedProofLimiter.#MAX_SOURCES) break;
      table.delete(oldest);
    }
    table.set(source[by], { failures: 1, since: monotonicMs });
  }

  #table(source: CountedSource): Map<string, FailureCount> {
    return source.addressValidated ? this.#validated : this.#unvalidated;
  }
}

type CountedSource = Pick<Source, 'address' | 'prefix' | 'addressValidated'>;

interface FailureCount {
  failures: number;
  readonly since: number;
}
