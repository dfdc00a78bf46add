/** Telemetry of a daemon: liveness, readiness and metrics. */

import type { Histogram } from './counter.js';

/** Something the daemon's work depends on. */
export interface Check {
  /** `store`, `auth_server`, ...: a label in metrics. */
  readonly name: string;
  /**
   * Resolves with `undefined` if the check passes, otherwise with the fault, as text for a person.
   * The text holds no key and no ID.
   */
  readonly run: () => Promise<string | undefined> | string | undefined;
  /**
   * `required`: the watchdog is notified only after this check has returned a result, even a fault,
   * because a daemon with a hanging store hangs. `reported`: the check runs for the status line
   * only. If absent, it runs only on a request over HTTP.
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
 * A metric, read at each scrape. Names, labels and their values are constants in the code: no ID,
 * no key, no fingerprint, no value that a peer sent.
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
