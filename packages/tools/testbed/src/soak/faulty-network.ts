/**
 * A UDP network that loses, delays, doubles, reorders and corrupts, between nodes and their
 * controller. Each client keeps a source address of its own towards the controller, so that the NID
 * and the bounds per source are what they would be.
 */

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Endpoint } from '@latchkey/runtime/net';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';

/** The chance of each fault for a datagram, one way. */
export interface FaultProbabilities {
  readonly lost: number;
  readonly delayed: number;
  readonly doubled: number;
  /** Held until others have overtaken it. */
  readonly reordered: number;
  /** Between one and three of its octets changed, under a UDP checksum that is right. */
  readonly corrupted: number;
}

type Fault = keyof FaultProbabilities;

const MAX_DELAY_MS = 1_500;
const REORDER_DELAY_MS = 40;
/** A client that says nothing for this long is forgotten: an attempt is over by then. */
const IDLE_MS = 70_000;
const MAX_CLIENTS = 6_000;
/** Datagrams held back at once; beyond that they are lost, as they would be. */
const MAX_HELD = 20_000;

interface ProxyClient {
  readonly upstream: Socket;
  lastHeard: number;
}

export class FaultyNetwork {
  /** How often each fault happened, and how many datagrams came in all. */
  readonly counts: Record<Fault | 'datagrams', number> = {
    datagrams: 0,
    lost: 0,
    delayed: 0,
    doubled: 0,
    reordered: 0,
    corrupted: 0,
  };
  readonly #front = createSocket({ type: 'udp4', recvBufferSize: 4 * 1024 * 1024 });
  readonly #clients = new Map<string, ProxyClient>();
  readonly #held = new Set<NodeJS.Timeout>();
  readonly #faults: FaultProbabilities;
  readonly #random: SeededRandom;
  readonly #sweep: NodeJS.Timeout;

  private constructor(to: Endpoint, faults: FaultProbabilities, random: SeededRandom) {
    this.#faults = faults;
    this.#random = random;
    this.#front.on('message', (octets, { address, port }) => {
      const client = this.#clientOf(address, port, to);
      if (client !== undefined) this.#forward(octets, (forwarded) => sendQuietly(client.upstream, forwarded, to.port, to.host));
    });
    this.#sweep = setInterval(() => this.#forgetIdle(), 5_000);
  }

  /** Listens on `at` and carries what comes to `to`, and the answers back. */
  static async open(at: Endpoint, to: Endpoint, faults: FaultProbabilities, random: SeededRandom): Promise<FaultyNetwork> {
    const network = new FaultyNetwork(to, faults, random);
    network.#front.bind(at.port, at.host);
    await once(network.#front, 'listening');
    return network;
  }

  close(): void {
    clearInterval(this.#sweep);
    for (const timer of this.#held) clearTimeout(timer);
    for (const { upstream } of this.#clients.values()) upstream.close();
    this.#clients.clear();
    this.#front.close();
  }

  #clientOf(address: string, port: number, to: Endpoint): ProxyClient | undefined {
    const key = `${address} ${port}`;
    const known = this.#clients.get(key);
    if (known !== undefined) {
      known.lastHeard = performance.now();
      return known;
    }
    if (this.#clients.size >= MAX_CLIENTS) return undefined;
    const upstream = createSocket('udp4');
    upstream.on('message', (octets, from) => {
      if (from.port === to.port) this.#forward(octets, (forwarded) => sendQuietly(this.#front, forwarded, port, address));
    });
    // A controller that is being killed refuses: that is lost, as on a network.
    upstream.on('error', () => undefined);
    const client = { upstream, lastHeard: performance.now() };
    this.#clients.set(key, client);
    return client;
  }

  #forward(octets: Buffer, send: (octets: Buffer) => void): void {
    this.counts.datagrams += 1;
    if (this.#isTriggered('lost')) return;
    const forwarded = this.#isTriggered('corrupted') ? this.#corrupt(octets) : octets;
    const copies = this.#isTriggered('doubled') ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      const wait =
        (this.#isTriggered('delayed') ? this.#random.below(MAX_DELAY_MS) : 0) +
        (this.#isTriggered('reordered') ? REORDER_DELAY_MS : 0);
      if (wait === 0) send(forwarded);
      else if (this.#held.size < MAX_HELD) this.#hold(() => send(forwarded), wait);
    }
  }

  #hold(send: () => void, ms: number): void {
    const timer = setTimeout(() => {
      this.#held.delete(timer);
      send();
    }, ms);
    this.#held.add(timer);
  }

  #isTriggered(fault: Fault): boolean {
    const happens = this.#random.uniform() < this.#faults[fault];
    if (happens) this.counts[fault] += 1;
    return happens;
  }

  #corrupt(octets: Buffer): Buffer {
    const corrupted = Buffer.from(octets);
    for (let i = this.#random.below(3); i >= 0; i--) {
      const at = this.#random.below(corrupted.length);
      corrupted[at] = (corrupted[at] ?? 0) ^ (1 + this.#random.below(255));
    }
    return corrupted;
  }

  #forgetIdle(): void {
    const now = performance.now();
    for (const [key, { upstream, lastHeard }] of this.#clients) {
      if (now - lastHeard < IDLE_MS) continue;
      upstream.close();
      this.#clients.delete(key);
    }
  }
}

function sendQuietly(socket: Socket, octets: Buffer, port: number, host: string): void {
  try {
    socket.send(octets, port, host, () => undefined);
  } catch {
    // Closed meanwhile: lost.
  }
}
