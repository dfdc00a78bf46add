/** A request that is sent twice under one Idempotency-Key happens once, and is answered twice. */

import { createHash, timingSafeEqual } from 'node:crypto';
import { InDoubt } from '@latchkey/registry';
import { Failure } from '@latchkey/runtime/failure';
import type { Principal } from '../access.js';
import { Problem } from '../problem.js';
import type { AnswerRecord, RequestStore, StoredAnswer } from './request-store.js';

const KEY = /^[!-~]{8,128}$/;
const RETRY_AFTER_S = 1;
const RETRY_WHEN_FULL_S = 3_600;

export interface IdempotentRequest {
  readonly principal: Principal;
  /** The header. */
  readonly key: string | string[] | undefined;
  /** Method, path and body: another request may not use the key. */
  readonly parts: readonly string[];
  readonly now: number;
  readonly registryRestoredAt: number | null;
}

export class IdempotentRequests {
  readonly #store: RequestStore;
  /** Under way in this process: `caller key`. */
  readonly #running = new Set<string>();

  constructor(store: RequestStore) {
    this.#store = store;
  }

  /**
   * Runs the action, or returns the stored answer of an earlier request.
   *
   * @throws Problem without a key, for a key of another request, and while the first request is
   *   running
   */
  async run(request: IdempotentRequest, action: () => Promise<StoredAnswer>): Promise<StoredAnswer> {
    const { principal, key, parts, now: at, registryRestoredAt } = request;
    if (typeof key !== 'string' || !KEY.test(key))
      throw new Problem('idempotency-key-required', {
        advice: 'Send an Idempotency-Key of 8 to 128 characters that no other request of yours has, a UUID say.',
      });
    const running = `${principal.id} ${key}`;
    if (this.#running.has(running)) throw new Problem('request-under-way', { retryAfter: RETRY_AFTER_S });
    this.#running.add(running);
    try {
      const hash = createHash('sha256').update(JSON.stringify(parts)).digest();
      const record: AnswerRecord = { request: hash, at, registryRestoredAt, answer: null };
      const before = await this.#store.beginAnswer(principal.id, key, record);
      if (before === 'full')
        throw new Problem('too-many-requests', {
          detail: 'Too many Idempotency-Keys were used within a day.',
          retryAfter: RETRY_WHEN_FULL_S,
        });
      if (before !== undefined) return answerOf(before, hash);
      return await this.#answer(principal.id, key, record, action);
    } finally {
      this.#running.delete(running);
    }
  }

  async #answer(caller: string, key: string, record: AnswerRecord, action: () => Promise<StoredAnswer>): Promise<StoredAnswer> {
    let answer: StoredAnswer;
    try {
      answer = await action();
    } catch (error) {
      if (changedNothing(error)) await this.#store.forgetAnswer(caller, key);
      throw error;
    }
    await this.#store.finishAnswer(caller, key, { ...record, answer });
    return answer;
  }
}

/**
 * Each request with a key begins a job. If it was refused, failed at work, or was given up since
 * its caller has gone, its job did not begin: the same request may succeed. Of any other error the
 * outcome is not known.
 */
function changedNothing(error: unknown): boolean {
  const isGivenUp = error instanceof Error && error.name === 'AbortError';
  return isGivenUp || error instanceof Problem || (error instanceof Failure && !(error instanceof InDoubt));
}

function answerOf({ request, answer }: AnswerRecord, hash: Uint8Array): StoredAnswer {
  if (!timingSafeEqual(request, hash))
    throw new Problem('idempotency-key-reused', { advice: 'Send another request with another Idempotency-Key.' });
  if (answer !== null) return answer;
  throw new Problem('outcome-unknown', {
    advice: 'The API ended while it did this. Look whether it was done, then send it with another Idempotency-Key.',
  });
}
