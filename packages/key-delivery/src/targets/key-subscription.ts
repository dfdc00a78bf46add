/**
 * Follows a daemon's key socket: a snapshot of all nodes, then each change. A lost connection is
 * made again, and counts for nothing until its own snapshot is complete.
 */

import { connect, type Socket } from 'node:net';
import type { Log } from '@latchkey/runtime/daemon';
import { systemFailure } from '@latchkey/runtime/failure';
import * as z from 'zod/mini';
import { type DeliveredNode, KeySnapshot } from './key-snapshot.js';

const MAX_LINE = 65_536;
const MAX_NODES = 131_072;
/** The first try comes after 250 ms, later ones after twice as long each, in ms. */
const RECONNECT = { firstMs: 250, maxMs: 10_000 } as const;

const REVOCATIONS = ['disabled', 'removed', 'moved', 'reset', 'expired', 'withdrawn'] as const;

const idSchema = z.string().check(z.regex(/^[0-9a-f]{8}$/));
const keysSchema = z.record(z.string(), z.string().check(z.regex(/^(?:[0-9a-f]{2}){16,255}$/)));
const timeSchema = z.iso.datetime();

const nodeSchema = z.object({
  event: z.literal('key'),
  seq: z.int(),
  id: idSchema,
  kid: idSchema,
  keys: keysSchema,
  joined: timeSchema,
  not_after: z.nullable(timeSchema),
  previous: z._default(z.array(z.object({ kid: idSchema, keys: keysSchema, until: timeSchema })).check(z.maxLength(16)), []),
});
const revocationSchema = z.object({ event: z.enum(REVOCATIONS), seq: z.int(), id: idSchema });
const lineSchema = z.union([
  nodeSchema,
  revocationSchema,
  z.object({ event: z.literal('synced'), seq: z.optional(z.int()) }),
  z.object({ event: z.literal('resync') }),
  z.object({ error: z.string() }),
]);

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

/** A line that no daemon of this version sends. */
class ProtocolError extends Error {}

export class KeySubscription {
  readonly #options: SubscriptionOptions;
  #socket: Socket | undefined;
  #timer: NodeJS.Timeout | undefined;
  #unread = '';
  /** Incomplete until `synced`. */
  #loading: KeySnapshot | undefined;
  #seq = 0;
  #acknowledged = 0;
  #failures = 0;
  #fault: string | undefined = 'no complete snapshot has come yet';
  #isStopped = false;

  constructor(options: SubscriptionOptions) {
    this.#options = options;
  }

  start(): void {
    const { path, labels } = this.#options;
    const socket = connect(path);
    this.#socket = socket;
    this.#unread = '';
    this.#loading = new KeySnapshot();
    this.#seq = 0;
    this.#acknowledged = 0;
    let cause: Error | undefined;
    socket.setEncoding('utf8');
    socket.on('connect', () => socket.write(`${JSON.stringify({ subscribe: labels })}\n`));
    socket.on('data', (text: string) => this.#receive(socket, text));
    socket.on('error', (error) => (cause = error));
    socket.on('close', () => this.#reconnect(cause));
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
    this.#socket?.write(`${JSON.stringify({ ack: this.#seq })}\n`);
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  #receive(socket: Socket, text: string): void {
    const lines = (this.#unread + text).split('\n');
    this.#unread = lines.pop() ?? '';
    try {
      for (const line of lines) this.#take(line);
      if (this.#unread.length > MAX_LINE) throw new ProtocolError(`a line has more than ${MAX_LINE} octets`);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      socket.destroy(error);
    }
  }

  #take(text: string): void {
    const line = parseLine(text);
    if ('error' in line) throw new ProtocolError(`the daemon answers: ${line.error.slice(0, 200)}`);
    switch (line.event) {
      case 'resync':
        this.#loading = new KeySnapshot();
        return;
      case 'synced':
        this.#seq = Math.max(this.#seq, line.seq ?? 0);
        return this.#synced();
      case 'key':
        this.#seq = Math.max(this.#seq, line.seq);
        return this.#takeNode(nodeOf(line));
      case 'disabled':
      case 'removed':
      case 'moved':
      case 'reset':
      case 'expired':
      case 'withdrawn':
        this.#seq = Math.max(this.#seq, line.seq);
        if (this.#loading === undefined) this.#options.onRevoked(line.id, line.event);
        else this.#load((snapshot) => snapshot.revoke(line.id, line.event));
    }
  }

  #takeNode(node: DeliveredNode): void {
    if (this.#loading === undefined) this.#options.onNode(node);
    else this.#load((snapshot) => snapshot.set(node));
  }

  #load(change: (snapshot: KeySnapshot) => void): void {
    if (this.#loading === undefined) return;
    change(this.#loading);
    if (this.#loading.size > MAX_NODES) throw new ProtocolError(`a snapshot has more than ${MAX_NODES} nodes`);
  }

  #synced(): void {
    const snapshot = this.#loading;
    this.#loading = undefined;
    if (this.#fault !== undefined) this.#options.log.info({ nodes: snapshot?.size }, 'synced with the key socket');
    this.#fault = undefined;
    this.#failures = 0;
    if (snapshot !== undefined) this.#options.onSnapshot(snapshot);
  }

  #reconnect(cause: Error | undefined): void {
    if (this.#isStopped) return;
    const { path, log } = this.#options;
    const message =
      cause === undefined ? `${path}: the daemon closed the connection` : systemFailure(`cannot follow ${path}`, cause).message;
    if (message !== this.#fault) log.warn({ advice: ADVICE }, `${message}; all files stay as they are`);
    this.#fault = message;
    const delay = Math.min(RECONNECT.firstMs * 2 ** this.#failures, RECONNECT.maxMs);
    this.#failures += 1;
    this.#timer = setTimeout(() => this.start(), delay);
  }
}

function parseLine(text: string): z.output<typeof lineSchema> {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new ProtocolError('a line is not JSON');
  }
  const result = z.safeParse(lineSchema, json);
  // Never the line itself: it holds keys.
  if (!result.success) throw new ProtocolError('a line has another form than this version expects');
  return result.data;
}

function nodeOf({ id, kid, keys, joined, not_after: notAfter, previous }: z.output<typeof nodeSchema>): DeliveredNode {
  return {
    id,
    current: {
      kid,
      keys,
      joinedAt: Date.parse(joined),
      notAfter: notAfter === null ? undefined : Date.parse(notAfter),
    },
    former: previous.map((former) => ({ kid: former.kid, keys: former.keys, until: Date.parse(former.until) })),
  };
}
