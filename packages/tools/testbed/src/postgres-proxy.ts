/**
 * A TCP proxy between the auth-server and PostgreSQL that knows the messages of the protocol, and
 * can cut the connection, or hold back what follows, at any octet of any of them. Not for
 * connections with TLS.
 */

import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net';

/** Of the first message of a connection, which has no letter. */
const STARTUP = 'startup';
const TAG_LENGTH = 1;
const LENGTH_LENGTH = 4;

/** `to server`: what the auth-server sends. */
export type Direction = 'to server' | 'to client';

export interface ProxyMessage {
  readonly direction: Direction;
  /** Its letter, as `B` of Bind, or `startup`. */
  readonly type: string;
  readonly octets: Buffer;
  /** Of the connection, from 1 on, in the order in which they were made. */
  readonly connection: number;
}

/**
 * What becomes of a message: `forward`; `cut`, both ways, once `after` of its octets are through;
 * `hold` what follows those until `release`, and deliver it even if the sender is gone by then.
 */
export type Fate = 'forward' | { readonly kind: 'cut' | 'hold'; readonly after: number };

export class PostgresProxy {
  /** Asked of each message. */
  decide: (message: ProxyMessage) => Fate = () => 'forward';
  readonly #server: Server;
  readonly #target: number;
  readonly #sockets = new Set<Socket>();
  readonly #held: (() => void)[] = [];
  #connections = 0;

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.#target = target;
    server.on('connection', (client) => this.#accept(client));
  }

  /** @param target a TCP port of 127.0.0.1 */
  static async start(target: number): Promise<PostgresProxy> {
    const server = createServer({ allowHalfOpen: true });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    return new PostgresProxy(server, target);
  }

  /** HOST:PORT */
  get address(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get heldCount(): number {
    return this.#held.length;
  }

  /** Delivers what was held back. */
  release(): void {
    for (const deliver of this.#held.splice(0)) deliver();
  }

  /** Breaks all connections, as a reset of the network does. */
  cutAll(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#held.length = 0;
  }

  async close(): Promise<void> {
    this.#server.close();
    this.cutAll();
    await once(this.#server, 'close');
  }

  #accept(client: Socket): void {
    this.#connections += 1;
    const connection = this.#connections;
    const upstream = connect({ port: this.#target, host: '127.0.0.1', allowHalfOpen: true });
    this.#relay(client, upstream, 'to server', connection);
    this.#relay(upstream, client, 'to client', connection);
  }

  #relay(from: Socket, to: Socket, direction: Direction, connection: number): void {
    this.#sockets.add(from);
    const splitter = new MessageSplitter(direction);
    const waiting: Buffer[] = [];
    let isHeld = false;
    const cut = (): void => {
      from.destroy();
      to.destroy();
    };
    const release = (): void => {
      isHeld = false;
      for (const octets of waiting.splice(0)) to.write(octets);
      if (from.readableEnded || from.destroyed) to.end();
    };
    from.on('data', (data: Buffer) => {
      for (const { type, octets } of splitter.split(data)) {
        const fate = isHeld ? 'forward' : this.decide({ direction, type, octets, connection });
        if (isHeld) waiting.push(octets);
        else if (fate === 'forward') to.write(octets);
        else {
          if (fate.after > 0) to.write(octets.subarray(0, fate.after));
          if (fate.kind === 'cut') return cut();
          isHeld = true;
          waiting.push(octets.subarray(fate.after));
          this.#held.push(release);
        }
      }
    });
    // Who sends is gone: what it sent before still arrives, as it does on a network.
    from.on('end', () => isHeld || to.end());
    from.on('error', () => isHeld || to.destroy());
    from.on('close', () => {
      this.#sockets.delete(from);
      if (!isHeld) to.destroySoon();
    });
  }
}

/** Puts the pieces of a TCP stream together to messages. */
class MessageSplitter {
  readonly #direction: Direction;
  #buffered: Buffer = Buffer.alloc(0);
  #isStarted: boolean;

  constructor(direction: Direction) {
    this.#direction = direction;
    // A server's first word has its letter.
    this.#isStarted = direction === 'to client';
  }

  *split(data: Buffer): Generator<{ readonly type: string; readonly octets: Buffer }> {
    this.#buffered = Buffer.concat([this.#buffered, data]);
    for (;;) {
      const tag = this.#isStarted ? TAG_LENGTH : 0;
      if (this.#buffered.length < tag + LENGTH_LENGTH) return;
      const end = tag + this.#buffered.readUInt32BE(tag);
      if (this.#buffered.length < end) return;
      const octets = this.#buffered.subarray(0, end);
      this.#buffered = this.#buffered.subarray(end);
      const type = this.#isStarted ? String.fromCharCode(octets[0] ?? 0) : STARTUP;
      if (this.#direction === 'to server') this.#isStarted = true;
      yield { type, octets };
    }
  }
}
