/**
 * Resolves writes whose outcome is unknown by a look-up in the audit log. The first entry of each
 * write has a unique operation ID.
 */

import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { AuditEntry } from './audit-chain.js';
import { Failure } from '@latchkey/runtime/failure';
import { InDoubt, Unavailable } from './storage.js';

/** Attempts of a write that did not happen. */
const MAX_ATTEMPTS = 3;
/** How long the log is queried while no host serves it, as in a failover, in ms. */
const LOOK_MS = 60_000;
const LOOK_AGAIN_MS = 500;

/** The decision of a write, which is its result if the write happened. */
interface Decided<T> {
  readonly result: T;
  /** Number of its first entry, or `undefined` if it has none. */
  readonly entry: number | undefined;
}

/** Time and pauses of the look-up. */
interface LookTime {
  readonly now: () => number;
  readonly pause: (ms: number) => Promise<void>;
}

const PROCESS_TIME: LookTime = { now: () => performance.now(), pause: (ms) => setTimeout(ms) };

interface Attempt<T> {
  /**
   * Resolves when the write is durable. Calls `decided` with each decision; the last one counts.
   */
  readonly write: (operation: string, decided: (outcome: Decided<T>) => void) => Promise<T>;
  /** Reads an entry after all earlier writes have either happened or failed. */
  readonly readEntry: (number: number) => Promise<AuditEntry | undefined>;
  /** Default: the time of this process. Its timers keep the process alive. */
  readonly time?: LookTime | undefined;
}

/**
 * Writes. If the outcome is in doubt, looks for the entry in the audit log. If the entry exists,
 * the write happened. If not, the write never will happen, and is made again.
 *
 * @throws InDoubt if no host serves the log within `LOOK_MS`, or the write has no entry
 */
export async function withoutDoubt<T>({ write, readEntry, time = PROCESS_TIME }: Attempt<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const operation = randomBytes(8).toString('hex');
    let decided: Decided<T> | undefined;
    try {
      return await write(operation, (outcome) => {
        decided = outcome;
      });
    } catch (error) {
      if (!(error instanceof InDoubt) || decided?.entry === undefined) throw error;
      const entry = await look(decided.entry, operation, readEntry, time);
      if (entry?.operation === operation) return decided.result;
      if (attempt === MAX_ATTEMPTS)
        throw new Unavailable('the registry did not take the change', { advice: 'Nothing was changed. Try again.' });
    }
  }
}

async function look(
  number: number,
  operation: string,
  readEntry: Attempt<unknown>['readEntry'],
  { now, pause }: LookTime,
): Promise<AuditEntry | undefined> {
  const until = now() + LOOK_MS;
  for (;;) {
    try {
      return await readEntry(number);
    } catch (error) {
      // Any kind of failure leaves the doubt, for example a password that cannot be read.
      if (!(error instanceof Failure)) throw error;
      if (now() > until) throw stillInDoubt(number, operation, error);
    }
    await pause(LOOK_AGAIN_MS);
  }
}

function stillInDoubt(number: number, operation: string, { message }: Failure): InDoubt {
  return new InDoubt(`it is not known whether the registry took the change: ${message}`, {
    advice: `If it did, entry ${number} of the audit log has operation ${operation}. Before you try again, look:`,
    run: [['latchkey-auth-server', 'audit', 'list', '--from', String(number), '--limit', '1', '--json']],
  });
}
