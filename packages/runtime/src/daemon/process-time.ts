/** How time passes for a process: for limits and intervals, not for dates. */

import { setTimeout as pause } from 'node:timers/promises';

export interface ProcessTime {
  /** ms since some moment; never set back. */
  readonly now: () => number;
  /** Resolves after `ms`, or as soon as the signal aborts. It does not keep the process alive. */
  readonly pause: (ms: number, signal: AbortSignal) => Promise<void>;
}

export const PROCESS_TIME: ProcessTime = {
  now: () => performance.now(),
  pause: (ms, signal) => pause(ms, undefined, { signal, ref: false }).catch(() => undefined),
};
