// What the test files share: an installed node, and a controller on a bare socket that speaks by
// the protocol's functions.

import { randomBytes } from 'node:crypto';
import { derivePsk, type NodeState, type Renewal, sealM4, sealM6, Secret, decodeM1, decodeM5 } from '@latchkey/protocol';
import type { Endpoint } from '@latchkey/runtime/net';
import { onTestFinished } from 'vitest';
import { CapturedLog, type Received, tempFolder, UdpPeer } from '@latchkey/test-support/fixtures';
import { NodeAgent } from '../src/node-agent.js';
import { createNodeFile } from '../src/create-node-file.js';
import { NodeFile, type StoredNode } from '../src/node-file.js';

export const ID_I = 0xa1b2;
export const ID_C = 1;

/** `coap-packet` has no name for it. */
const ECHO = '252' as never;

/** The Echo that a request brings back. */
export function echoIn({ options }: Received): Buffer | undefined {
  return options.find(({ name }) => String(name) === ECHO)?.value;
}

export function newSecret(): Secret {
  return Secret.from(randomBytes(16));
}

/** A node as it is installed. */
export function newRecord(more: Partial<StoredNode> = {}): StoredNode {
  const state: NodeState = { idI: ID_I, controllers: [ID_C], confirmed: newSecret(), initial: true, candidates: [] };
  return {
    state,
    endpoints: [{ host: '127.0.0.1', port: 5683 }],
    keyLease: undefined,
    lastAttempt: undefined,
    powered: undefined,
    hookPending: false,
    ...more,
  };
}

/** A key that was confirmed a moment ago, at powered time 0 and in the first boot. */
export function newKeyLease(renewal: Renewal | undefined): StoredNode['keyLease'] {
  const now = Date.now();
  return { joinedAt: now, at: now, poweredAt: 0, boots: 1, lifetime: (renewal?.afterMs ?? 0) / 800, renewal };
}

export interface Installed {
  readonly folder: string;
  readonly file: NodeFile;
  readonly log: CapturedLog;
  readonly agent: NodeAgent;
}

export async function install(record: StoredNode, onKeyChange?: string): Promise<Installed> {
  const folder = await tempFolder();
  await createNodeFile(folder, record, false);
  const [file, log] = [await NodeFile.open(folder), new CapturedLog()];
  const agent = new NodeAgent({ file, folder, onKeyChange, log: log.log });
  onTestFinished(() => agent.stop());
  return { folder, file, log, agent };
}

/** A controller that holds K_i itself, as if the auth-server had just told it. */
export class TestController {
  #peer: UdpPeer;
  readonly #key: Secret;
  /** Of which a request has been returned. */
  readonly #exchanges = new Set<string>();
  #tid = 0n;
  #psk: Secret | undefined;

  private constructor(peer: UdpPeer, key: Secret) {
    this.#peer = peer;
    this.#key = key;
  }

  static async open(key: Secret): Promise<TestController> {
    return new TestController(await UdpPeer.open(), Secret.from(key.expose()));
  }

  get endpoint(): Endpoint {
    return this.#peer.endpoint;
  }

  /**
   * It is at another address of this machine from here on, on the same port. What comes to the old
   * one is not heard.
   */
  async moveTo(host: string): Promise<void> {
    this.#peer = await UdpPeer.open(host, this.#peer.endpoint.port);
  }

  get psk(): Secret | undefined {
    return this.#psk;
  }

  /**
   * The next request. Retransmissions are skipped: a busy machine causes one before the test has
   * answered.
   */
  async next(): Promise<Received> {
    for (;;) {
      const request = await this.nextDatagram();
      const exchange = `${request.from.port} ${request.messageId}`;
      if (this.#exchanges.has(exchange)) continue;
      this.#exchanges.add(exchange);
      return request;
    }
  }

  /** The next request, or the next copy of one. */
  nextDatagram(): Promise<Received> {
    return this.#peer.next();
  }

  answer(to: Received, payload: Uint8Array): void {
    const { messageId, token } = to;
    this.#peer.reply(to, { code: '2.04', ack: true, messageId, token, payload: Buffer.from(payload) });
  }

  refuse(to: Received, code: string, maxAge?: number): void {
    const { messageId, token } = to;
    const options = maxAge === undefined ? [] : [{ name: 'Max-Age' as const, value: Buffer.of(maxAge) }];
    this.#peer.reply(to, { code, ack: true, messageId, token, options });
  }

  /** That it came, and no more. */
  acknowledge({ messageId, ...to }: Received): void {
    this.#peer.reply({ messageId, ...to }, { code: '0.00', ack: true, messageId });
  }

  /** Asks for proof of the node's address. */
  challenge(to: Received, echo: Buffer): void {
    const { messageId, token } = to;
    const options = [{ name: ECHO, value: echo }];
    this.#peer.reply(to, { code: '4.01', ack: true, messageId, token, options });
  }

  /** The M4 to an M1. */
  m4({ payload: m1 }: Received, { key = this.#key, idC = ID_C }: { key?: Secret; idC?: number } = {}): Uint8Array {
    const { rnI } = decodeM1(m1);
    const rnC = randomBytes(16);
    this.#tid += 1n;
    this.#psk = derivePsk(key, rnI, rnC);
    return sealM4({ idC, tid: this.#tid }, { rnI, rnC }, key, m1);
  }

  /** The M6 to an M5. */
  m6({ payload: m5 }: Received, lifetime = 3_600): Uint8Array {
    if (this.#psk === undefined) throw new Error('no M4 was sent');
    return sealM6({ idC: ID_C, tid: decodeM5(m5).tid }, { lifetime }, this.#psk, m5);
  }

  /** Plays one whole exchange. */
  async admit(lifetime?: number): Promise<void> {
    const m1 = await this.next();
    this.answer(m1, this.m4(m1));
    const m5 = await this.next();
    this.answer(m5, this.m6(m5, lifetime));
  }
}
