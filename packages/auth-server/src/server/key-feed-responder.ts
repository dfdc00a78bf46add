/**
 * Answers a decrypted M12: with M13, with M9, or, for a copy beyond the rate limit, with a bare
 * code. The answer is read from the registry. The only state is how often each controller polled.
 */

import {
  formatId,
  isFeedRequestInTime,
  KeyFeedLimiter,
  type KeyFeedRequest,
  type LinkRefusal,
  type M12,
  NONCE_LENGTH,
  REFUSALS,
  retryAfterSeconds,
  sealFeedAnswer,
  sealFeedRefusal,
  type Clocks,
  type Secret,
} from '@latchkey/protocol';
import type { Log, RateLimitedLog } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { LabelledCounter } from '@latchkey/runtime/telemetry';
import { entriesBetween, type KeyFeed, type Registry } from '@latchkey/registry';
import type { LinkAnswer } from './link-answer.js';

/** How M12 ended; `copy`: it was one too many. */
type FeedOutcome = 'answered' | 'start-over' | 'copy' | 'clock' | 'overloaded' | 'storeFailed';

/** Max-Age of the answer to a copy beyond the rate limit, in seconds. */
const COPY_MAX_AGE = 1;

interface KeyFeedResponderOptions {
  readonly registry: Registry;
  readonly randomBytes: (n: number) => Uint8Array;
  readonly log: Log;
  readonly rateLimitedLog: RateLimitedLog;
}

export class KeyFeedResponder {
  readonly outcomes: LabelledCounter<FeedOutcome> = new LabelledCounter<FeedOutcome>([
    'answered',
    'start-over',
    'copy',
    'clock',
    'overloaded',
    'storeFailed',
  ]);
  readonly #registry: Registry;
  #feed: KeyFeed | undefined;
  readonly #limiter = new KeyFeedLimiter();
  readonly #randomBytes: (n: number) => Uint8Array;
  readonly #log: Log;
  readonly #rateLimitedLog: RateLimitedLog;

  constructor({ registry, randomBytes, log, rateLimitedLog }: KeyFeedResponderOptions) {
    this.#registry = registry;
    this.#randomBytes = randomBytes;
    this.#log = log;
    this.#rateLimitedLog = rateLimitedLog;
  }

  async answer(request: KeyFeedRequest, body: M12, skCs: Secret, { wallMs, monotonicMs }: Clocks): Promise<LinkAnswer> {
    const { idC, tid } = request;
    if (!isFeedRequestInTime(body, wallMs)) return this.#refuse(request, 'clock', skCs);
    const verdict = this.#limiter.admit(idC, tid, monotonicMs, skCs.fingerprint);
    if (verdict === 'drop') {
      this.outcomes.increment('copy');
      return { code: REFUSALS.overloaded.code, maxAge: COPY_MAX_AGE };
    }
    if (verdict === 'refuse') return this.#refuse(request, 'overloaded', skCs);
    try {
      this.#feed ??= this.#registry.keyFeed();
      const page = await this.#feed.answer({ idC, tid, cursor: body.cursor, wallMs });
      if (page === 'behind') return this.#refuse(request, 'overloaded', skCs);
      this.#limiter.charge(idC, entriesBetween(body.cursor, page.cursor));
      const payload = sealFeedAnswer(request, page, this.#randomBytes(NONCE_LENGTH), skCs);
      for (const { applicationRoot } of page.entries) applicationRoot?.wipe();
      const isStartOver = page.cursor === 0n;
      this.outcomes.increment(isStartOver ? 'start-over' : 'answered');
      if (isStartOver) this.#log.info({ controller: formatId(idC) }, 'controller is to be told of all its nodes again');
      return { code: '2.04', payload };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return this.#refuse(request, 'storeFailed', skCs, error);
    }
  }

  #refuse(request: KeyFeedRequest, refusal: LinkRefusal & FeedOutcome, skCs: Secret, failure?: Failure): LinkAnswer {
    const { reason, code, meaning } = REFUSALS[refusal];
    this.outcomes.increment(refusal);
    this.#rateLimitedLog.warn(
      refusal,
      { message: 'M12', controller: formatId(request.idC), reason, advice: failure?.advice },
      `refused: ${failure?.message ?? `it ${meaning}`}`,
    );
    const payload = sealFeedRefusal(request, refusal, this.#randomBytes(NONCE_LENGTH), skCs);
    return { code, payload, maxAge: retryAfterSeconds(refusal) };
  }
}
