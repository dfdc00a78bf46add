/** Sends the audit log as JSON Lines in one answer, as fast as its caller reads. */

import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import type { AuditLog } from '@latchkey/registry';
import { type Principal, recheckPrincipal, type Scope } from './access.js';
import type { RawAnswer } from './answers.js';
import { ConcurrencyLimit } from './concurrency-limit.js';

export const JSON_LINES = 'application/jsonl';
/** For a caller to read what was sent, in ms. Its connection is closed after that. */
const READ_TIMEOUT_MS = 30_000;
const SCOPE: Scope = 'audit';

export class AuditExports {
  readonly #limit = new ConcurrencyLimit('Other exports are being sent.');
  readonly #readTimeoutMs: number;

  constructor(readTimeoutMs: number = READ_TIMEOUT_MS) {
    this.#readTimeoutMs = readTimeoutMs;
  }

  /**
   * Exports entries by number, from one up to another. If that cannot be finished, the connection
   * is closed: the caller sees that the answer is incomplete.
   *
   * @throws Problem at the bound
   */
  begin(principal: Principal, audit: AuditLog, range: { readonly from: number; readonly upTo: number }): RawAnswer {
    const release = this.#limit.take(principal);
    return {
      headers: { 'content-type': JSON_LINES },
      start: async (response) => {
        response.on('error', () => undefined);
        try {
          for await (const lines of linesOf(audit, range)) {
            await requireRight(principal);
            if (!response.write(lines)) await this.#drain(response);
          }
          response.end();
        } catch {
          response.destroy();
        } finally {
          release();
        }
      },
    };
  }

  /** Waits until the caller has read. Rejects if it does not in time, or has gone. */
  async #drain(response: ServerResponse): Promise<void> {
    const stop = new AbortController();
    const timer = setTimeout(() => stop.abort(), this.#readTimeoutMs);
    const abort = (): void => stop.abort();
    response.once('close', abort);
    if (response.destroyed) abort();
    try {
      await once(response, 'drain', { signal: stop.signal });
    } finally {
      clearTimeout(timer);
      response.off('close', abort);
    }
  }
}

/** The lines of a page of the log at a time. */
async function* linesOf(
  audit: AuditLog,
  { from, upTo }: { readonly from: number; readonly upTo: number },
): AsyncGenerator<string> {
  for await (const page of audit.entryPages(from)) {
    const lines = page.filter(({ seq }) => seq <= upTo).map((entry) => `${JSON.stringify(entry)}\n`);
    if (lines.length > 0) yield lines.join('');
    if (lines.length < page.length) return;
  }
}

/** Rights may be taken away while a long log is sent. */
async function requireRight(principal: Principal): Promise<void> {
  const now = await recheckPrincipal(principal);
  if (now?.scopes.has(SCOPE) !== true) throw new Error(`the right ${SCOPE} was taken away`);
}
