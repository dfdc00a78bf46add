// What the test files share: a source in memory, and a client that speaks the socket's lines.

import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { deriveApplicationKey, deriveKeyId, formatId, Secret } from '@latchkey/protocol';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { onTestFinished } from 'vitest';
import type { KeySource, KeyState, NodeKeys } from '../src/key-source.js';
import { KeyServer, type KeyServerOptions } from '../src/key-server.js';

export const HOUR = 3_600_000;
export const ID = 0xa1b2;

interface StoredGeneration {
  readonly root: Uint8Array;
  readonly joinedAt: number;
  readonly expiresAt: number | undefined;
  readonly until: number;
}

interface StoredNode {
  state: KeyState;
  generations: StoredGeneration[];
}

/**
 * Nodes in memory. Each generation's root is drawn from its number, so that a test can tell which
 * it got.
 */
class MemorySource implements KeySource {
  readonly nodes = new Map<number, StoredNode>();
  readonly #listeners = new Set<(idI: number) => void>();
  readonly handedOut: Secret[] = [];
  /** Resolves once it has all nodes. */
  readonly #whenComplete: Promise<void>;
  /** The store cannot be read. */
  fails = false;

  constructor(whenComplete: Promise<void> = Promise.resolve()) {
    this.#whenComplete = whenComplete;
  }

  completed(): Promise<void> {
    return this.#whenComplete;
  }

  get(idI: number): NodeKeys | undefined {
    if (this.fails) throw new Error('the disk is gone');
    const node = this.nodes.get(idI);
    if (node === undefined) return undefined;
    const [current, ...former] = node.state === 'current' ? node.generations : [];
    return {
      idI,
      state: node.state,
      current: current === undefined ? undefined : this.#handOut(idI, current),
      former: former.map((generation) => Object.assign(this.#handOut(idI, generation), { until: generation.until })),
      verified: true,
    };
  }

  *all(): Iterable<NodeKeys> {
    for (const idI of [...this.nodes.keys()].toSorted((a, b) => a - b)) {
      const keys = this.get(idI);
      if (keys !== undefined) yield keys;
    }
  }

  onChange(listener: (idI: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** A node joins: its generation before stays for `overlap` ms. */
  join(idI: number, { expiresAt, overlap = HOUR }: { expiresAt?: number; overlap?: number } = {}): void {
    const node = this.nodes.get(idI) ?? { state: 'current', generations: [] };
    const number = node.generations.length + 1;
    const root = Uint8Array.from({ length: 16 }, (_, index) => (index < 4 ? idI >> (8 * index) : number));
    const now = Date.now();
    const former = node.generations.map((generation) => ({ ...generation, until: now + overlap }));
    node.generations = [{ root, joinedAt: now, expiresAt, until: 0 }, ...former].slice(0, 5);
    node.state = 'current';
    this.nodes.set(idI, node);
    this.#changed(idI);
  }

  set(idI: number, state: KeyState): void {
    this.nodes.set(idI, { generations: [], ...this.nodes.get(idI), state });
    this.#changed(idI);
  }

  /** The key and the key identifier of a generation, 0 being the current one. */
  expected(idI: number, label: string, generation = 0): { key: string; kid: string } {
    const root = Secret.from(this.nodes.get(idI)!.generations[generation]!.root);
    return {
      key: Buffer.from(deriveApplicationKey(root, label, idI)).toString('hex'),
      kid: deriveKeyId(root, idI),
    };
  }

  /** How many of the secrets that were handed out are not wiped. */
  get leaked(): number {
    return this.handedOut.filter((secret) => String(secret) !== '[secret wiped]').length;
  }

  #handOut(idI: number, { root, joinedAt, expiresAt }: StoredGeneration): NonNullable<NodeKeys['current']> {
    const applicationRoot = Secret.from(root);
    this.handedOut.push(applicationRoot);
    return { keyId: deriveKeyId(applicationRoot, idI), applicationRoot, joinedAt, expiresAt };
  }

  #changed(idI: number): void {
    for (const listener of this.#listeners) listener(idI);
  }
}

export interface Running {
  readonly source: MemorySource;
  readonly server: KeyServer;
  readonly log: CapturedLog;
  readonly folder: string;
  readonly path: string;
}

/** A server with one socket, for the labels `mqtt-psk` and `eap-psk`. */
export async function startServer(options: Partial<KeyServerOptions> = {}, whenComplete?: Promise<void>): Promise<Running> {
  const source = new MemorySource(whenComplete);
  const log = new CapturedLog();
  const folder = await tempFolder();
  const path = join(folder, 'keys.sock');
  const server = new KeyServer({ source, log: log.log, ...options });
  onTestFinished(() => server.close());
  await server.listen({ socket: path, mode: 0o660, labels: ['mqtt-psk', 'eap-psk'] });
  return { source, server, log, folder, path };
}

export type Line = Readonly<Record<string, unknown>>;

/** One connection, line by line. */
export class Client {
  readonly socket: Socket;
  readonly #lines: Line[] = [];
  readonly #waiting: ((line: Line | undefined) => void)[] = [];
  #text = '';
  #closed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      const lines = `${this.#text}${text}`.split('\n');
      this.#text = lines.pop() ?? '';
      for (const line of lines) this.#receive(JSON.parse(line) as Line);
    });
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
      for (const resolve of this.#waiting.splice(0)) resolve(undefined);
    });
  }

  static async open(path: string): Promise<Client> {
    const socket = connect(path);
    onTestFinished(() => void socket.destroy());
    const client = new Client(socket);
    await once(socket, 'connect');
    return client;
  }

  send(request: unknown): void {
    this.socket.write(`${typeof request === 'string' ? request : JSON.stringify(request)}\n`);
  }

  /** The next line; `undefined` once the server has closed the connection. */
  line(): Promise<Line | undefined> {
    const line = this.#lines.shift();
    if (line !== undefined) return Promise.resolve(line);
    return this.#closed ? Promise.resolve(undefined) : new Promise((resolve) => this.#waiting.push(resolve));
  }

  async ask(request: unknown): Promise<Line | undefined> {
    this.send(request);
    return this.line();
  }

  /** All lines up to the first that has this event, which is the last of them. */
  async until(event: string): Promise<Line[]> {
    const lines: Line[] = [];
    for (;;) {
      const line = await this.line();
      if (line === undefined) throw new Error(`closed before ${event}: ${JSON.stringify(lines)}`);
      lines.push(line);
      if (line['event'] === event) return lines;
    }
  }

  #receive(line: Line): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#lines.push(line);
    else next(line);
  }
}

export function idOf(idI: number): string {
  return formatId(idI);
}
