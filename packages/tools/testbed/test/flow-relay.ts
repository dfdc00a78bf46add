// A relay between two daemons that knows flows, as a NAT or a firewall does, and can lose them.

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Endpoint } from './reference-peer.js';

export class FlowRelay {
  readonly #front: Socket;
  /**
   * By source port: where its datagrams leave from. `undefined`: the flow is lost, and what belongs
   * to it is dropped.
   */
  readonly #flows = new Map<number, Socket | undefined>();
  #passes = true;

  private constructor(front: Socket, to: Endpoint) {
    this.#front = front;
    front.on('message', (octets, { port, address }) => {
      if (this.#passes) this.#flowOf(port, address, to)?.send(octets, to.port, to.host);
    });
  }

  static async open(at: Endpoint, to: Endpoint): Promise<FlowRelay> {
    const front = createSocket('udp4').bind(at.port, at.host);
    await once(front, 'listening');
    return new FlowRelay(front, to);
  }

  /** How many source ports were seen. */
  get flows(): number {
    return this.#flows.size;
  }

  /** Whether anything gets through, one way or the other. */
  pass(passes: boolean): void {
    this.#passes = passes;
  }

  /** From here on nothing from or to the ports that were seen gets through. New ones do. */
  loseFlows(): void {
    for (const [port, flow] of this.#flows) {
      flow?.close();
      this.#flows.set(port, undefined);
    }
  }

  close(): void {
    this.#front.close();
    for (const flow of this.#flows.values()) flow?.close();
  }

  #flowOf(port: number, address: string, to: Endpoint): Socket | undefined {
    if (this.#flows.has(port)) return this.#flows.get(port);
    const flow = createSocket('udp4');
    flow.on('message', (octets, from) => {
      if (this.#passes && from.port === to.port && this.#flows.get(port) === flow) this.#front.send(octets, port, address);
    });
    // The daemon behind it may be down: that is silence here.
    flow.on('error', () => undefined);
    this.#flows.set(port, flow);
    return flow;
  }
}
