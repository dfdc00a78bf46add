/**
 * Follows a daemon's key socket with the client library that other programs use: a snapshot of all
 * nodes, then each change. A snapshot counts for nothing until it is complete.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { type KeyEvent, KeysError, type NodeKeyEvent, subscribe, type Subscription } from '@latchkey/keys';
import type { Log } from '@latchkey/runtime/daemon';
import { systemCode, systemFailure } from '@latchkey/runtime/failure';
import { type DeliveredNode, KeySnapshot } from './key-snapshot.js';

const MAX_NODES = 131_072;
/**
 * Until a subscription that the daemon refused is tried again, in ms: its configuration may change.
 */
const REFUSED_PAUSE_MS = 10_000;

export interface SubscriptionOptions {
  /** Of the socket. */
  readonly path: string;
  readonly labels: readonly string[];
  readonly log: Log;
  readonly onSnapshot: (snapshot: KeySnapshot) => void;
  readonly onNode: (node: DeliveredNode) => void;
  readonly onRevoked: (id: string, reason: string) => void;
}

const ADVICE = 'Start the daemon, or look at its log. Its `keys:` and `socket:` here must name the same path.';

export class KeySubscription {
  readonly #options: SubscriptionOptions;
  readonly #stopped = new AbortController();
  #subscription: Subscription | undefined;
  /** Incomplete until `synced`. */
  #loading: KeySnapshot | undefined;
  #seq = 0;
  #acknowledged = 0;
  #failures = 0;
  #fault: string | undefined = 'no complete snapshot has come yet';

  constructor(options: SubscriptionOptions) {
    this.#options = options;
  }

  start(): void {
    void this.#follow();
  }

  /** What is wrong with the connection, for a person. Returns `undefined` if it is synced. */
  get fault(): string | undefined {
    return this.#fault;
  }

  /** Connections that failed, or ended, since the last complete snapshot. */
  get failures(): number {
    return this.#failures;
  }

  /** Tells the daemon that all it sent so far is delivered. */
  acknowledge(): void {
    // Of a snapshot that is not complete nothing is delivered.
    if (this.#fault !== undefined || this.#loading !== undefined || this.#seq <= this.#acknowledged) return;
    this.#acknowledged = this.#seq;
    this.#subscription?.ack(this.#seq);
  }

  stop(): void {
    this.#stopped.abort();
    this.#subscription?.close();
  }

  /** The library reconnects lost connections. It gives up if the daemon refuses. */
  async #follow(): Promise<void> {
    const { path: socket, labels } = this.#options;
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      this.#beginSnapshot();
      this.#subscription = subscribe({ socket, labels, ack: 'manual', onDisconnect: (error) => this.#noteFailure(error) });
      try {
        for await (const event of this.#subscription) this.#take(event);
      } catch (error) {
        if (!(error instanceof KeysError)) throw error;
        this.#noteFailure(error);
      }
      await pause(REFUSED_PAUSE_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  #beginSnapshot(): void {
    this.#loading = new KeySnapshot();
    this.#seq = 0;
    this.#acknowledged = 0;
  }

  #take(event: KeyEvent): void {
    if (event.type === 'resync') return this.#beginSnapshot();
    this.#seq = Math.max(this.#seq, event.seq);
    if (event.type === 'synced') return this.#completeSnapshot();
    const { onNode, onRevoked } = this.#options;
    const loading = this.#loading;
    if (event.type === 'key') {
      const node = nodeOf(event);
      if (loading === undefined) onNode(node);
      else loading.set(node);
    } else if (loading === undefined) onRevoked(event.id, event.type);
    else loading.revoke(event.id, event.type);
    if (loading !== undefined && loading.size > MAX_NODES)
      throw new KeysError('too-many', `the snapshot of ${this.#options.path} has more than ${MAX_NODES} nodes`);
  }

  #completeSnapshot(): void {
    const snapshot = this.#loading;
    this.#loading = undefined;
    if (this.#fault !== undefined) this.#options.log.info({ nodes: snapshot?.size }, 'synced with the key socket');
    this.#fault = undefined;
    this.#failures = 0;
    if (snapshot !== undefined) this.#options.onSnapshot(snapshot);
  }

  #noteFailure(error: KeysError): void {
    if (this.#stopped.signal.aborted) return;
    const { path, log } = this.#options;
    const { cause, message: words } = error;
    const message = systemCode(cause) === undefined ? words : systemFailure(`cannot follow ${path}`, cause).message;
    if (message !== this.#fault) log.warn({ advice: ADVICE }, `${message}; all files stay as they are`);
    this.#fault = message;
    this.#failures += 1;
  }
}

/** A file has keys as text, and so has the snapshot: the octets are wiped. */
function nodeOf({ id, kid, keys, joined, notAfter, previous }: NodeKeyEvent): DeliveredNode {
  return {
    id,
    current: { kid, keys: textOf(keys), joinedAt: joined.getTime(), notAfter: notAfter?.getTime() },
    former: previous.map((former) => ({
      kid: former.kid,
      keys: textOf(former.keys),
      notAfter: former.notAfter?.getTime(),
      until: former.until.getTime(),
    })),
  };
}

function textOf(keys: Readonly<Record<string, Buffer>>): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(keys).map(([label, key]) => {
      const hex = key.toString('hex');
      key.fill(0);
      return [label, hex];
    }),
  );
}
