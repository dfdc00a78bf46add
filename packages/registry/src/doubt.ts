/**
 * Writes whose outcome is not known, made certain by the audit log: each has an operation ID of
 * its own in its first entry.
 */

import { randomBytes } from 'node:crypto';
import { setTimeout } from 'node:timers/promises';
import type { AuditEntry } from './audit-chain.js';
import { Failure } from '@latchkey/runtime/failure';
import { InDoubt, Unavailable } from './storage.js';

/** How often a write is made that did not happen. */
const MAX_ATTEMPTS = 3;
/** How long the log is looked for while nobody has it, as in a failover, in ms. */
const LOOK_MS = 60_000;
const LOOK_AGAIN_MS = 500;

/** What was decided, as it is to be if the write happened. */
interface Decided<T> {
  readonly result: T;
  /** The number of its first entry; `undefined`: it has none. */
  readonly entry: number | undefined;
}

/** How time passes while the log is looked for. */
interface LookTime {
  readonly now: () => number;
  readonly pause: (ms: number) => Promise<void>;
}

const PROCESS_TIME: LookTime = { now: () => performance.now(), pause: (ms) => setTimeout(ms) };

interface Attempt<T> {
  /** Resolves when it is durable. `decided` is told of each decision: the last one counts. */
  readonly write: (operation: string, decided: (outcome: Decided<T>) => void) => Promise<T>;
  /** Reads an entry, once no write of before is on its way any more. */
  readonly readEntry: (number: number) => Promise<AuditEntry | undefined>;
  /** Left out: that of this process, which it keeps alive. */
  readonly time?: LookTime | undefined;
}

/**
 * Writes. After doubt it looks for the entry: if it is there, the write happened; if not, it never
 * will, and is made again.
 *
 * @throws InDoubt if nobody has the log for so long, or the write has no entry
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
      // Of whatever kind: where the password cannot be read, say, the write may have happened too.
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
