/**
 * Periodic tasks of a daemon: measurements, checks for changes, clean-up. A fault of any kind in
 * them is logged and does not end the daemon. Its main work may continue without a free file
 * descriptor, /proc or disk space.
 */

import { Failure } from '../failure.js';
import type { Log } from './log.js';

/** A fault that lasts is logged again after this, in ms. */
const TELL_AGAIN_MS = 60_000;

interface Chore {
  /** `to measure memory`, say: what could not be done. */
  readonly what: string;
  readonly everyMs: number;
  readonly log: Log;
  /** Not started again before it has ended. */
  readonly action: () => void | Promise<void>;
  /** How time passes; left out: as for this process, which is not kept alive by it. */
  readonly every?: (ms: number, action: () => void) => () => void;
}

/** @returns a function that ends it */
export function repeat({ what, everyMs, log, action, every = everyInterval }: Chore): () => void {
  const faults = new Faults(what, log);
  let underWay = false;
  const run = async (): Promise<void> => {
    underWay = true;
    try {
      await action();
      faults.none();
    } catch (error) {
      faults.tell(error);
    } finally {
      underWay = false;
    }
  };
  return every(everyMs, () => {
    if (!underWay) void run();
  });
}

function everyInterval(ms: number, action: () => void): () => void {
  const timer = setInterval(action, ms).unref();
  return () => clearInterval(timer);
}

/** Logs a fault when it begins, while it lasts, and when it ends. */
class Faults {
  readonly #what: string;
  readonly #log: Log;
  #told: string | undefined;
  #toldAt = -Infinity;

  constructor(what: string, log: Log) {
    this.#what = what;
    this.#log = log;
  }

  tell(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    const now = performance.now();
    if (message === this.#told && now - this.#toldAt < TELL_AGAIN_MS) return;
    this.#told = message;
    this.#toldAt = now;
    const advice = error instanceof Failure ? error.advice : undefined;
    this.#log.error({ advice }, error instanceof Failure ? message : `failed ${this.#what}: ${message}`);
  }

  none(): void {
    if (this.#told === undefined) return;
    this.#told = undefined;
    this.#log.info(`no longer fails ${this.#what}`);
  }
}
