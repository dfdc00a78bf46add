/** All keys of a label, and each change, across restarts of the daemon. */

import type { KeysError } from './keys-error.js';
import { idIn, keyIn, type Line, LineConnection, malformed } from './line-connection.js';
import { DEFAULT_SOCKET } from './lookup.js';

/** A key that was replaced, and that peers may still use. */
export interface FormerKey {
  readonly kid: string;
  readonly keys: Readonly<Record<string, Buffer>>;
  /** The key's own expiry, which may come before `until`. `undefined`: never. */
  readonly notAfter: Date | undefined;
  /** The end of the overlap with the key that replaced it. */
  readonly until: Date;
}

export interface NodeKeyEvent {
  readonly type: 'key';
  /** 0 within a snapshot. */
  readonly seq: number;
  /** 8 hex digits. */
  readonly id: string;
  /** Names the generation of the node's key: 8 hex digits, not secret. */
  readonly kid: string;
  /** By label, all from one generation. */
  readonly keys: Readonly<Record<string, Buffer>>;
  readonly joined: Date;
  /** `undefined`: never. */
  readonly notAfter: Date | undefined;
  /** False if the registry has not confirmed the key lately. */
  readonly verified: boolean;
  /** Newest first. */
  readonly previous: readonly FormerKey[];
}

/**
 * From this event on no key of the node may be used, former ones included. `withdrawn`: the daemon
 * has not reached the registry for too long; the key may become valid again.
 */
export interface RevocationEvent {
  readonly type: 'disabled' | 'removed' | 'moved' | 'reset' | 'expired' | 'withdrawn';
  readonly seq: number;
  readonly id: string;
}

export type KeyEvent =
  | NodeKeyEvent
  | RevocationEvent
  /**
   * Discard all earlier events: a snapshot follows. A node that is not listed before `synced` was
   * removed.
   */
  | { readonly type: 'resync'; readonly seq: 0 }
  /** Everything up to now has come. */
  | { readonly type: 'synced'; readonly seq: number };

export interface SubscribeOptions {
  readonly labels: readonly string[];
  readonly socket?: string | undefined;
  /** The `seq` of the last event that an earlier subscription has dealt with. */
  readonly from?: number | undefined;
  /**
   * `next` (default): an event is dealt with when the next one is asked for. `manual`: when `ack`
   * is called with its `seq`.
   */
  readonly ack?: 'next' | 'manual' | undefined;
  /** Called when the daemon cannot be reached. The subscription continues to retry. */
  readonly onDisconnect?: ((error: KeysError) => void) | undefined;
}

export interface Subscription extends AsyncIterable<KeyEvent> {
  /** Everything up to this event is dealt with, and does not come again after a reconnection. */
  ack(seq: number): void;
  close(): void;
}

/** Events that wait for the iteration before the daemon has to wait. */
const MAX_QUEUED = 256;
const FIRST_RETRY_MS = 100;
const MAX_RETRY_MS = 5_000;
const RETRIED: ReadonlySet<string> = new Set(['disconnected', 'too-many', 'unavailable']);
const REVOCATIONS: ReadonlySet<string> = new Set(['disabled', 'removed', 'moved', 'reset', 'expired', 'withdrawn']);

/**
 * Subscribes to the keys of all nodes. The iteration gives a snapshot that ends with `synced`, then
 * each change. It reconnects by itself and continues after the last event that was dealt with.
 *
 * @throws KeysError from the iteration if the daemon refuses: the user, or a label
 */
export function subscribe(options: SubscribeOptions): Subscription {
  return new KeySubscription(options);
}

class KeySubscription implements Subscription {
  readonly #options: SubscribeOptions;
  readonly #queue: KeyEvent[] = [];
  #connection: LineConnection | undefined;
  /** The last event that was dealt with. */
  #acknowledged: number | undefined;
  /** The numbers that came through this connection. */
  #received: { readonly first: number; readonly last: number } | undefined;
  #hasGivenEvents = false;
  #retryMs = FIRST_RETRY_MS;
  #retryTimer: NodeJS.Timeout | undefined;
  #isClosed = false;
  #failure: KeysError | undefined;
  #wake: (() => void) | undefined;

  constructor(options: SubscribeOptions) {
    this.#options = options;
    this.#acknowledged = options.from;
    this.#connect();
  }

  ack(seq: number): void {
    // The daemon does not know a sequence number from before a reconnection or a resync. It sends
    // the event again.
    if (this.#received === undefined || seq < this.#received.first || seq > this.#received.last) return;
    this.#acknowledged = seq;
    this.#connection?.send({ ack: seq });
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retryTimer);
    this.#connection?.close();
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<KeyEvent, void, undefined> {
    try {
      for (;;) {
        const event = await this.#next();
        if (event === undefined) return;
        if (event.type === 'resync') this.#acknowledged = undefined;
        yield event;
        if (this.#options.ack !== 'manual') this.ack(event.seq);
      }
    } finally {
      this.close();
    }
  }

  /** `undefined` once the subscription is closed. */
  async #next(): Promise<KeyEvent | undefined> {
    for (;;) {
      if (this.#isClosed && this.#failure === undefined) return undefined;
      const event = this.#queue.shift();
      if (this.#queue.length === 0) this.#connection?.resume();
      if (event !== undefined) return event;
      if (this.#failure !== undefined) throw this.#failure;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #connect(): void {
    const { socket = DEFAULT_SOCKET, labels } = this.#options;
    this.#received = undefined;
    this.#connection = new LineConnection({
      socket,
      onConnect: () => {
        const from = this.#acknowledged;
        // A snapshot replaces the partial one from before the connection was lost.
        if (from === undefined && this.#hasGivenEvents) this.#push({ type: 'resync', seq: 0 });
        this.#connection?.send({ subscribe: labels, ...(from === undefined ? {} : { from }) });
      },
      onLine: (line) => {
        const event = eventIn(line, labels);
        this.#retryMs = FIRST_RETRY_MS;
        if (event !== undefined) this.#push(event);
      },
      onEnd: (error) => this.#reconnect(error),
    });
  }

  #reconnect(error: KeysError): void {
    if (this.#isClosed) return;
    // The daemon sends unprocessed events again.
    this.#queue.length = 0;
    if (!RETRIED.has(error.code)) {
      this.#failure = error;
      this.#wake?.();
      return;
    }
    this.#options.onDisconnect?.(error);
    const delayMs = this.#retryMs * (0.5 + Math.random() / 2);
    this.#retryMs = Math.min(2 * this.#retryMs, MAX_RETRY_MS);
    this.#retryTimer = setTimeout(() => this.#connect(), delayMs);
  }

  #push(event: KeyEvent): void {
    this.#hasGivenEvents = true;
    if (event.type === 'resync') this.#received = undefined;
    else if (event.seq > 0) this.#received = { first: this.#received?.first ?? event.seq, last: event.seq };
    this.#queue.push(event);
    if (this.#queue.length >= MAX_QUEUED) this.#connection?.pause();
    this.#wake?.();
  }
}

/** Returns `undefined` for an event of a newer daemon. Throws a KeysError for a malformed one. */
function eventIn(line: Line, labels: readonly string[]): KeyEvent | undefined {
  const { event } = line;
  const seq = Number(line['seq'] ?? 0);
  if (event === 'resync') return { type: 'resync', seq: 0 };
  if (event === 'synced') return { type: 'synced', seq };
  if (typeof event === 'string' && REVOCATIONS.has(event))
    return { type: event as RevocationEvent['type'], seq, id: idIn(line['id']) };
  if (event !== 'key') return undefined;
  return {
    type: 'key',
    seq,
    id: idIn(line['id']),
    kid: idIn(line['kid']),
    keys: keysIn(line['keys'], labels),
    joined: timeIn(line['joined']),
    notAfter: expiryIn(line['not_after']),
    verified: line['verified'] === true,
    previous: linesIn(line['previous']).map((former) => ({
      kid: idIn(former['kid']),
      keys: keysIn(former['keys'], labels),
      // Its end is `until` where the daemon says no more.
      notAfter: expiryIn(former['not_after'] ?? null),
      until: timeIn(former['until']),
    })),
  };
}

function keysIn(keys: unknown, labels: readonly string[]): Readonly<Record<string, Buffer>> {
  if (!isLine(keys)) throw malformed();
  return Object.fromEntries(labels.map((label) => [label, keyIn(keys[label])]));
}

/** Returns `undefined` for a key that never expires. */
function expiryIn(text: unknown): Date | undefined {
  return text === null ? undefined : timeIn(text);
}

function timeIn(text: unknown): Date {
  const time = new Date(typeof text === 'string' ? text : NaN);
  if (Number.isNaN(time.getTime())) throw malformed();
  return time;
}

function linesIn(values: unknown): readonly Line[] {
  if (!Array.isArray(values) || !values.every(isLine)) throw malformed();
  return values;
}

function isLine(value: unknown): value is Line {
  return typeof value === 'object' && value !== null;
}
