/**
 * Stands between a peer's client and its server, counts what passes, and takes the time from a
 * client's first datagram to its last.
 */

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

export interface RelayCounts {
  /** Clients that were seen. */
  readonly clients: number;
  readonly datagrams: number;
  /** UDP payload. */
  readonly octets: number;
  /** Of each client, ms. */
  readonly times: readonly number[];
}

interface RelayClient {
  readonly back: Socket;
  readonly first: number;
  last: number;
}

export class CountingRelay {
  readonly #front: Socket;
  readonly #clients = new Map<number, RelayClient>();
  readonly #port: number;
  #datagrams = 0;
  #octets = 0;

  private constructor(front: Socket, port: number) {
    this.#front = front;
    this.#port = port;
    front.on('message', (octets, { port: from }) => this.#fromClient(octets, from));
  }

  /** @param port of the server on 127.0.0.1 */
  static async open(port: number): Promise<CountingRelay> {
    const front = createSocket('udp4').bind(0, '127.0.0.1');
    await once(front, 'listening');
    return new CountingRelay(front, port);
  }

  /** Where clients go. */
  get port(): number {
    return this.#front.address().port;
  }

  /** What was counted since the last time. */
  takeCounts(): RelayCounts {
    const clients = [...this.#clients.values()];
    const counted = { clients: clients.length, datagrams: this.#datagrams, octets: this.#octets };
    for (const { back } of clients) back.close();
    this.#clients.clear();
    this.#datagrams = 0;
    this.#octets = 0;
    return { ...counted, times: clients.map(({ first, last }) => last - first) };
  }

  close(): void {
    this.takeCounts();
    this.#front.close();
  }

  #fromClient(octets: Buffer, from: number): void {
    const client = this.#clients.get(from) ?? this.#newClient(from);
    this.#count(client, octets);
    client.back.send(octets, this.#port, '127.0.0.1');
  }

  #newClient(from: number): RelayClient {
    const now = performance.now();
    const client: RelayClient = { back: createSocket('udp4'), first: now, last: now };
    client.back.on('message', (answer) => {
      this.#count(client, answer);
      this.#front.send(answer, from, '127.0.0.1');
    });
    this.#clients.set(from, client);
    return client;
  }

  #count(client: RelayClient, octets: Buffer): void {
    client.last = performance.now();
    this.#datagrams += 1;
    this.#octets += octets.length;
  }
}
