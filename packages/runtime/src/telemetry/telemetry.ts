/**
 * What a daemon lets others see of it: whether it serves, whether it can do its work, and its
 * numbers.
 */

import type { Histogram } from './counter.js';

/** Something the daemon's work depends on. */
export interface Check {
  /** `store`, `auth_server`, ...: a label in metrics. */
  readonly name: string;
  /**
   * Resolves with `undefined` where all is well, else with what is not, for a person. Holds no key
   * and no ID.
   */
  readonly run: () => Promise<string | undefined> | string | undefined;
  /**
   * `required`: the watchdog is told that the daemon lives once this has an answer, be it a fault:
   * a store that hangs is a daemon that hangs. `reported`: it is looked at for the status line
   * alone. Without either: only when somebody asks over HTTP.
   */
  readonly watchdog?: 'required' | 'reported';
  /** For how long a look that found all well is believed, in ms. */
  readonly cacheMs?: number;
}

type Labels = Readonly<Record<string, string>>;

/** One number under its labels. */
export interface Sample {
  readonly labels?: Labels;
  readonly value: number;
}

/**
 * A family of numbers, read when somebody asks. Names, labels and their values are the code's own
 * words: no ID, no key, no fingerprint, nothing a peer sent.
 */
export type Metric = { readonly name: string; readonly help: string } & (
  | { readonly type: 'counter' | 'gauge'; readonly labels?: readonly string[]; readonly read: () => Iterable<Sample> | number }
  | { readonly type: 'histogram'; readonly read: () => Iterable<{ readonly labels?: Labels; readonly histogram: Histogram }> }
);

export interface Telemetry {
  /** Whether its sockets are open. */
  readonly isServing: () => boolean;
  readonly checks: readonly Check[];
  readonly metrics: readonly Metric[];
}
