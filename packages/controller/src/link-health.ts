/**
 * What became of the requests to auth-servers, for `/readyz`. Requests themselves count: a ping may
 * get through where they do not, and a request that is refused is no join. Times are ms of the
 * monotonic clock.
 */

import { BACKOFF, KEY_FEED_TYPE, type LinkDecision, TYPE } from '@latchkey/protocol';

/** An answer that opened shows for this long that a server is there, in ms. */
const ANSWER_COUNTS_MS = 5_000;
/**
 * For this time after a request timed out, in ms, the auth-servers count as silent, whatever pings
 * say.
 */
const UNANSWERED_COUNTS_MS = 30_000;
/** Answers that did not open show for this long that a server has another SK_cs, in ms. */
const UNOPENED_COUNTS_MS = 60_000;
/**
 * Reason 8 or 9 counts for this long, in ms. The node that met it repeats its M5 within 30 s, and
 * the answer to that replaces it.
 */
const PUT_OFF_COUNTS_MS = 60_000;
/**
 * Reason 6 counts for this long, in ms: a refused node tries again sooner, so the fault shows
 * without a gap until it is mended.
 */
const CLOCK_COUNTS_MS: number = BACKOFF.last + 60_000;
/** The wall clock was set if it moved against the monotonic one by more than this, in ms. */
const CLOCK_STEP_MS = 1_000;

const UNOPENED = 'an auth-server answers, but nothing that opens: its credential of this controller is another';
const UNANSWERED = 'an auth-server answers pings, but the last request to it got no answer';
const PUT_OFF =
  'the auth-server commits no keys now: it is at its bounds, its store fails, or its clock was set back; its log says which';
const CLOCK =
  "the auth-server refuses requests for their time: this machine's clock and the auth-server's differ by more than 30 s";

export class LinkHealth {
  #openedAt = -Infinity;
  #unopenedAt = -Infinity;
  #failedAt = -Infinity;
  /** Of the latest request that got no answer at all. */
  #unanswered = { askedAt: -Infinity, at: -Infinity };
  /** When the latest request of a kind, M2 or M7, met reason 8 or 9. */
  readonly #putOff = new Map<number, number>();
  /** `ahead`: how far the wall clock was ahead of the monotonic one. */
  #clock: { readonly at: number; readonly ahead: number } | undefined;

  /** A request was answered by something that opens. */
  answered(request: Uint8Array, decision: LinkDecision, now: number): void {
    // Nobody could open it any more.
    if (decision.kind === 'unknown-transaction') return;
    this.#openedAt = now;
    const [type = 0] = request;
    const refusal = decision.kind === 'refuse' ? decision.refusal : undefined;
    if (refusal === 'storeFailed' || (refusal === 'overloaded' && type === TYPE.M7)) this.#putOff.set(type, now);
    // To an M2 reason 8 says that one node is held off.
    else if (refusal === 'overloaded') return;
    // Uses M2 only. The window of an M7 is wider, and a slow disk may delay it.
    else if (refusal === 'clock') {
      if (type === TYPE.M2 || type === KEY_FEED_TYPE.M12) this.#clock = { at: now, ahead: Date.now() - now };
    } else {
      // Whatever else is decided, is decided after the time stamp.
      this.#clock = undefined;
      if (decision.kind === 'answer' && this.#putOff.size > 0) this.#putOff.delete(type);
    }
  }

  /**
   * Records a failed attempt of a request; further attempts may follow. `unopened`: answers
   * arrived, and none decrypted.
   */
  failed(unopened: boolean, now: number): void {
    this.#failedAt = now;
    if (unopened) this.#unopenedAt = now;
  }

  /** A request that was first asked at `askedAt` was given up without an answer. */
  unanswered(askedAt: number, now: number): void {
    this.#unanswered = { askedAt, at: now };
  }

  /**
   * Describes why M2 and M7 get no useful answer. Returns `undefined` if they do. `ping` resolves
   * with true if a server answers a ping.
   */
  async fault(ping: () => Promise<boolean>): Promise<string | undefined> {
    const before = performance.now();
    const putOff = [...this.#putOff.values()].some((at) => before - at < PUT_OFF_COUNTS_MS);
    const answeredNow =
      this.#openedAt > this.#failedAt && !this.#lastIsUnanswered(before) && before - this.#openedAt < ANSWER_COUNTS_MS;
    if (!answeredNow && !(await ping())) return 'no auth-server answers';
    const now = performance.now();
    if (this.#unopenedAt > this.#openedAt && now - this.#unopenedAt < UNOPENED_COUNTS_MS) return UNOPENED;
    if (this.#lastIsUnanswered(now)) return UNANSWERED;
    return putOff ? PUT_OFF : undefined;
  }

  /** Why every join fails for a clock; `undefined` if none is known to. */
  clockFault(now: number = performance.now()): string | undefined {
    if (this.#clock === undefined || now - this.#clock.at >= CLOCK_COUNTS_MS) return undefined;
    const wasSet = Math.abs(Date.now() - now - this.#clock.ahead) > CLOCK_STEP_MS;
    return wasSet ? undefined : CLOCK;
  }

  /** Whether a request got no answer and no other one has had any since it was asked. */
  #lastIsUnanswered(now: number): boolean {
    const { askedAt, at } = this.#unanswered;
    return askedAt > this.#openedAt && now - at < UNANSWERED_COUNTS_MS;
  }
}
