/**
 * How long the body of a request may take to arrive. A small body has a fixed time. A large one
 * that is admitted has a minimum rate, so that a caller on a slow line can send it.
 */

import type { IncomingMessage, ServerResponse } from 'node:http';
import { MAX_IMPORT_BODY } from './large-bodies.js';

/** For a request to arrive in full, unless it has a minimum rate, in s. */
export const REQUEST_TIMEOUT_S = 10;
/** Minimum rate of a large body, in octets per second: an eighth of a line of 1 Mbit/s. */
export const MIN_BODY_RATE: number = 16 * 1024;
/** The longest that a large body can take, in ms. Node.js ends a request that takes longer. */
export const LONGEST_REQUEST_MS: number = 1000 * (REQUEST_TIMEOUT_S + MAX_IMPORT_BODY / MIN_BODY_RATE);
const TICK_MS = 1_000;

/**
 * Seconds that a body has left. Each second takes one away. At a minimum rate each octet gives some
 * back, up to the start's: a sender that pauses that long, or is too slow on the whole, is out.
 */
export class BodyCredit {
  #left = REQUEST_TIMEOUT_S;
  #octets: number;

  /** @param octets that the connection has received so far */
  constructor(octets: number) {
    this.#octets = octets;
  }

  /**
   * Counts a second.
   *
   * @returns whether no time is left
   */
  tick(octets: number, hasMinimumRate: boolean): boolean {
    const earned = hasMinimumRate ? (octets - this.#octets) / MIN_BODY_RATE : 0;
    this.#octets = octets;
    this.#left = Math.min(REQUEST_TIMEOUT_S, this.#left + earned) - TICK_MS / 1000;
    return this.#left <= 0;
  }
}

interface TimedBody {
  readonly credit: BodyCredit;
  hasMinimumRate: boolean;
  expire: () => void;
}

/** The bodies that are arriving at a server. */
export class BodyTimeouts {
  readonly #bodies = new WeakMap<IncomingMessage, TimedBody>();

  /**
   * Starts the fixed time of a request whose header has arrived.
   *
   * @param expire ends the request
   */
  start(incoming: IncomingMessage, outgoing: ServerResponse, expire: () => void): void {
    const { headers, socket } = incoming;
    if (headers['transfer-encoding'] === undefined && Number(headers['content-length'] ?? 0) === 0) return;
    const body: TimedBody = { credit: new BodyCredit(socket.bytesRead), hasMinimumRate: false, expire };
    this.#bodies.set(incoming, body);
    // Seconds of this process are counted, not of a clock: a busy machine cuts nobody off.
    const timer = setInterval(() => {
      if (incoming.complete || socket.destroyed) return clearInterval(timer);
      // A caller that has its answer is not waited for at length.
      if (!body.credit.tick(socket.bytesRead, body.hasMinimumRate && !outgoing.writableEnded)) return;
      clearInterval(timer);
      body.expire();
    }, TICK_MS);
    timer.unref();
  }

  /** From here on the body has a minimum rate in the place of the fixed time. */
  admit(incoming: IncomingMessage): void {
    const body = this.#bodies.get(incoming);
    if (body !== undefined) body.hasMinimumRate = true;
  }

  /** Takes an admission back: the body has the rest of its fixed time, which ends so. */
  refuse(incoming: IncomingMessage, expire: () => void): void {
    const body = this.#bodies.get(incoming);
    if (body !== undefined) Object.assign(body, { hasMinimumRate: false, expire });
  }
}
