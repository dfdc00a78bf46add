/**
 * A foreign daemon's key socket, written from the description of its lines alone: nodes that renew
 * and get revoked when a test says so.
 */

import { randomBytes } from 'node:crypto';
import { EventEmitter, once } from 'node:events';
import { rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { deriveApplicationKey, deriveKeyId, formatId, Secret } from '@latchkey/protocol';

const OVERLAP_MS = 15 * 60_000;
const MAX_FORMER = 4;
const DEADLINE_MS = 120_000;

export interface FeedGeneration {
  readonly kid: string;
  readonly applicationRoot: Secret;
  readonly joined: number;
}

interface FeedNode {
  readonly generations: readonly FeedGeneration[];
  /** Why it has no key; `undefined` while it has one. */
  readonly revoked: string | undefined;
}

interface Subscriber {
  readonly socket: Socket;
  readonly labels: readonly string[];
  /** The last change that it has dealt with. */
  acknowledged: number;
}

export class KeyFeed {
  readonly path: string;
  readonly #nodes = new Map<number, FeedNode>();
  readonly #subscribers = new Set<Subscriber>();
  readonly #events = new EventEmitter();
  #server: Server | undefined;
  #seq = 0;

  constructor(path: string) {
    this.path = path;
    this.#events.setMaxListeners(0);
  }

  async listen(): Promise<void> {
    await rm(this.path, { force: true });
    this.#server = createServer((socket) => this.#serve(socket)).listen(this.path);
    await once(this.#server, 'listening');
  }

  /** Ends all connections, as a daemon that is killed. */
  async close(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    for (const { socket } of this.#subscribers) socket.destroy();
    this.#subscribers.clear();
    if (server === undefined) return;
    server.close();
    await once(server, 'close');
  }

  /** Gives a node a new key, and returns it. The former one is kept for its overlap. */
  renew(idI: number): FeedGeneration {
    const applicationRoot = Secret.from(randomBytes(16));
    const next = { kid: deriveKeyId(applicationRoot, idI), applicationRoot, joined: Date.now() };
    const node = this.#nodes.get(idI);
    const former = node?.revoked === undefined ? (node?.generations ?? []) : [];
    this.#nodes.set(idI, { generations: [next, ...former].slice(0, 1 + MAX_FORMER), revoked: undefined });
    this.#tell(idI);
    return next;
  }

  revoke(idI: number, event: 'disabled' | 'removed' | 'moved' | 'reset' | 'expired'): void {
    const node = this.#nodes.get(idI);
    if (node === undefined) throw new Error(`no node ${formatId(idI)}`);
    this.#nodes.set(idI, { ...node, revoked: event });
    this.#tell(idI);
  }

  get seq(): number {
    return this.#seq;
  }

  /** The last change that every subscriber has dealt with; 0 while there is none. */
  get acknowledged(): number {
    return this.#subscribers.size === 0 ? 0 : Math.min(...[...this.#subscribers].map(({ acknowledged }) => acknowledged));
  }

  /** Resolves once all subscribers have dealt with all changes up to `seq`. */
  async delivered(seq = this.#seq): Promise<void> {
    const signal = AbortSignal.timeout(DEADLINE_MS);
    while (this.acknowledged < seq) await once(this.#events, 'ack', { signal });
  }

  #serve(socket: Socket): void {
    socket.on('error', () => undefined);
    const lines = createInterface({ input: socket });
    // It emits the errors of the socket again: `deliver` may have been killed.
    lines.on('error', () => undefined);
    let subscriber: Subscriber | undefined;
    lines.on('line', (text) => {
      const line = JSON.parse(text) as { subscribe?: string[]; from?: number; ack?: number };
      if (line.ack !== undefined) {
        if (subscriber !== undefined) subscriber.acknowledged = Math.max(subscriber.acknowledged, line.ack);
        this.#events.emit('ack');
        return;
      }
      subscriber = { socket, labels: line.subscribe ?? [], acknowledged: 0 };
      this.#subscribers.add(subscriber);
      // This one keeps no log of changes: nobody goes on where they stopped.
      if (line.from !== undefined) socket.write(`${JSON.stringify({ event: 'resync' })}\n`);
      for (const [idI, node] of this.#nodes) socket.write(this.#line(idI, node, subscriber.labels, this.#seq));
      socket.write(`${JSON.stringify({ event: 'synced' })}\n`);
    });
    socket.on('close', () => subscriber !== undefined && this.#subscribers.delete(subscriber));
  }

  #tell(idI: number): void {
    this.#seq += 1;
    const node = this.#nodes.get(idI);
    if (node === undefined) return;
    for (const { socket, labels } of this.#subscribers) socket.write(this.#line(idI, node, labels, this.#seq));
  }

  #line(idI: number, { generations: [current, ...former], revoked }: FeedNode, labels: readonly string[], seq: number): string {
    const id = formatId(idI);
    if (revoked !== undefined || current === undefined) return `${JSON.stringify({ seq, event: revoked, id })}\n`;
    const keysOf = ({ applicationRoot }: FeedGeneration): Record<string, string> =>
      Object.fromEntries(labels.map((label) => [label, applicationKey(applicationRoot, label, idI)]));
    // Each generation ends its overlap counted from when the next one replaced it.
    const previous = former.map((generation, index) => ({
      kid: generation.kid,
      keys: keysOf(generation),
      until: new Date((index === 0 ? current.joined : (former[index - 1]?.joined ?? 0)) + OVERLAP_MS).toISOString(),
    }));
    const joined = new Date(current.joined).toISOString();
    const line = {
      seq,
      event: 'key',
      id,
      kid: current.kid,
      keys: keysOf(current),
      joined,
      not_after: null,
      verified: true,
      previous,
    };
    return `${JSON.stringify(line)}\n`;
  }
}

/** What the node's own application has: the other end of the same key. */
export function applicationKey(applicationRoot: Secret, label: string, idI: number): string {
  return Buffer.from(deriveApplicationKey(applicationRoot, label, idI)).toString('hex');
}
