/** One client of a key socket: its requests in order, and its subscription. */

import type { Socket } from 'node:net';
import type { LabelledCounter } from '@latchkey/runtime/telemetry';
import { formerAt, generationsLine, isOver, keyLine, plainLine, stateAt, wipeKeys } from './key-lines.js';
import type { KeyGeneration, NodeKeys } from './key-source.js';
import { type KeyRequest, parseRequest, RequestError } from './requests.js';
import { MAX_QUEUED, Subscription, type SubscriptionOptions } from './subscription.js';

/** A request has 16 labels of 64 octets at most; JSON may escape each octet. */
const MAX_LINE = 8_192;
const NEWLINE = 0x0a;
/** For a client to read why its connection is closed, in ms. */
const LINGER_MS = 1_000;

export const LOOKUP_RESULTS = [
  'found',
  'unknown',
  'initial',
  'disabled',
  'removed',
  'moved',
  'expired',
  'withdrawn',
  'unknown-kid',
  'label-refused',
] as const;
/** Result of a look-up. All results but `found` are values of `error`. */
export type LookupResult = (typeof LOOKUP_RESULTS)[number];

export interface ConnectionOptions extends Pick<
  SubscriptionOptions,
  'socket' | 'source' | 'changes' | 'isComplete' | 'now' | 'onSent' | 'onResync' | 'onFault'
> {
  /** The labels that this socket is for; `any` on the daemon's own socket. */
  readonly labels: readonly string[] | 'any';
  readonly lookups: LabelledCounter<LookupResult>;
}

export class KeyConnection {
  readonly #options: ConnectionOptions;
  readonly #socket: Socket;
  #unread: Buffer = Buffer.alloc(0);
  /** A look-up waits for the store. Those after it wait for their turn. */
  #isWaiting = false;
  #subscription: Subscription | undefined;
  #acknowledged: number;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#socket = options.socket;
    this.#acknowledged = options.changes.last;
    this.#socket.on('data', (chunk: Buffer) => {
      if (!this.#socket.writable) return;
      this.#unread = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
      this.#answerLines();
    });
    this.#socket.on('drain', () => {
      if (!this.#isWaiting) this.#socket.resume();
      this.#answerLines();
      this.#subscription?.continue();
    });
    this.#socket.on('error', () => this.#socket.destroy());
    this.#socket.on('close', () => this.#subscription?.stop());
  }

  /** Changes that the subscriber has not acknowledged; `undefined` without a subscription. */
  get unacknowledged(): number | undefined {
    return this.#subscription === undefined ? undefined : this.#options.changes.last - this.#acknowledged;
  }

  /** Sends the subscriber the changes since the last call. */
  sendChanges(): void {
    this.#subscription?.continue();
  }

  /** A client that does not read its answers is not read from. */
  #answerLines(): void {
    for (let from = 0; ;) {
      const end = this.#unread.indexOf(NEWLINE, from);
      const isFull = this.#socket.writableLength >= MAX_QUEUED;
      if (end === -1 || isFull || this.#isWaiting || !this.#socket.writable) {
        this.#unread = this.#unread.subarray(from);
        if (end === -1 && this.#unread.length > MAX_LINE) this.#reject(`a line has ${MAX_LINE} octets at most`);
        else if (isFull) this.#socket.pause();
        return;
      }
      if (end - from > MAX_LINE) return this.#reject(`a line has ${MAX_LINE} octets at most`);
      this.#answer(this.#unread.subarray(from, end));
      from = end + 1;
    }
  }

  #answer(line: Buffer): void {
    try {
      const request = parseRequest(line);
      if (request.kind === 'subscribe') this.#subscribe(request);
      else if (request.kind === 'ack') this.#acknowledge(request.seq);
      else if (this.#options.labels === 'any') void this.#lookUpOnceStored(request);
      else this.#lookUp(request);
    } catch (error) {
      if (error instanceof RequestError) this.#reject(error.message);
      else this.#fail(error);
    }
  }

  #subscribe({ labels, from }: KeyRequest & { readonly kind: 'subscribe' }): void {
    if (this.#subscription !== undefined) throw new RequestError('there is a subscription already; open another connection');
    for (const label of labels) if (!this.#mayHave(label)) throw new RequestError(`the label ${label} is not for this socket`);
    if (from !== undefined && this.#options.changes.covers(from)) this.#acknowledged = from;
    this.#subscription = new Subscription({
      ...this.#options,
      labels,
      from,
      send: (line) => this.#send(line),
      onFault: (error) => this.#fail(error),
    });
  }

  #acknowledge(seq: number): void {
    if (this.#subscription === undefined) throw new RequestError('ack: there is no subscription');
    if (seq > this.#options.changes.last) throw new RequestError('ack: this sequence number was not sent');
    this.#acknowledged = Math.max(this.#acknowledged, seq);
  }

  /** A command right after a join gets that join's key. A program gets it as an event. */
  async #lookUpOnceStored(request: KeyRequest & { readonly kind: 'get' | 'get-generations' }): Promise<void> {
    this.#isWaiting = true;
    this.#socket.pause();
    try {
      await this.#options.source.flushed?.();
      if (this.#socket.writable) this.#lookUp(request);
    } catch (error) {
      this.#fail(error);
    }
    this.#isWaiting = false;
    this.#socket.resume();
    this.#answerLines();
  }

  #lookUp(request: KeyRequest & { readonly kind: 'get' | 'get-generations' }): void {
    const labels = request.kind === 'get' ? [request.label] : request.labels;
    if (!labels.every((label) => this.#mayHave(label))) return this.#answerLookup(request.get, 'label-refused');
    const keys = this.#options.source.get(request.idI);
    try {
      const now = this.#options.now();
      const isExpiredToo = request.kind === 'get-generations' && request.allowExpired && this.#options.labels === 'any';
      const state = isExpiredToo && keys?.current !== undefined ? keys.state : stateAt(keys, now);
      if (keys?.current === undefined || state !== 'current')
        return this.#answerLookup(request.get, state === 'current' ? 'unknown' : state);
      if (request.kind === 'get-generations') {
        const { get, octets } = request;
        return this.#answerLookup(get, 'found', generationsLine(get, keys, keys.current, labels, octets, now));
      }
      const generation = generationOf(keys, keys.current, request.keyId, now);
      if (generation === undefined) return this.#answerLookup(request.get, 'unknown-kid');
      const line = keyLine(request.get, request.idI, generation, request.label, request.octets);
      this.#answerLookup(request.get, 'found', line);
    } finally {
      wipeKeys(keys);
    }
  }

  #answerLookup(get: string, result: LookupResult, line: Buffer = plainLine({ get, error: result })): void {
    this.#options.lookups.increment(result);
    this.#send(line);
  }

  #mayHave(label: string): boolean {
    return this.#options.labels === 'any' || this.#options.labels.includes(label);
  }

  #send(line: Buffer): void {
    this.#socket.write(line, () => line.fill(0));
  }

  /** The client connects again, and may have more luck with the store. */
  #fail(error: unknown): void {
    this.#options.onFault(error);
    closeWithError(this.#socket, 'unavailable', 'the keys cannot be read now');
  }

  /** What follows a line that is not understood cannot be understood either. */
  #reject(message: string): void {
    closeWithError(this.#socket, 'bad-request', message);
  }
}

/** Why a connection is closed. A client may try again after `too-many` and `unavailable`. */
type CloseCode = 'not-allowed' | 'too-many' | 'bad-request' | 'unavailable';

/**
 * Says why, and closes the connection. The client's own lines are read to the end for a moment: it
 * would get no answer if the socket were closed with some unread.
 */
export function closeWithError(socket: Socket, code: CloseCode, message: string): void {
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  socket.once('close', () => clearTimeout(timer));
  socket.end(plainLine({ error: message, code }));
  socket.resume();
}

/** The current generation where two have one key identifier. */
function generationOf(keys: NodeKeys, current: KeyGeneration, keyId: string | undefined, now: number): KeyGeneration | undefined {
  if (keyId === undefined || current.keyId === keyId) return isOver(current, now) ? undefined : current;
  return formerAt(keys, now).find((former) => former.keyId === keyId);
}
