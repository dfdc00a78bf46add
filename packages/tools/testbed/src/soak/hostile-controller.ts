/**
 * What a node takes for its controller, and what talks rubbish: mutants, first beside the node's
 * request, then as answers to it.
 */

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import type { Endpoint } from '@latchkey/runtime/net';
import { OPTION, parseDatagram } from '@latchkey/coap';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { mutant } from './mutator.js';

/** Beside one request, before what answers it. */
const MAX_PER_ATTEMPT = 250_000;
const BURST = 250;
/** An attempt ends with the 16th answer that does not open. */
const ANSWERS_TO_END_ATTEMPT = 20;
/** A CON response nobody waits for: a client that is there says so with a Reset. */
const PROBE = Buffer.of(0x42, 0x44, 0x77, 0x77, 0x13, 0x37);
const RESET = Buffer.of(0x70, 0x00, 0x77, 0x77);
const PROBE_TIMEOUT_MS = 400;
const PROBES = 5;

interface Request {
  readonly octets: Buffer;
  readonly from: RemoteInfo;
}

export class HostileController {
  readonly #socket: Socket;
  readonly #random: SeededRandom;
  /** By the ID_i in their M1. */
  readonly #victims = new Map<string, Victim>();

  private constructor(socket: Socket, random: SeededRandom) {
    this.#socket = socket;
    this.#random = random;
    socket.on('message', (octets, from) => this.#receive({ octets, from }));
    socket.on('error', () => undefined);
  }

  static async open(at: Endpoint, random: SeededRandom): Promise<HostileController> {
    const socket = createSocket({ type: 'udp4', recvBufferSize: 1024 * 1024 }).bind(at.port, at.host);
    await once(socket, 'listening');
    return new HostileController(socket, random);
  }

  /** The node with this ID, whenever it asks. */
  victim(id: string): Victim {
    const victim = new Victim(this.#socket, this.#random);
    this.#victims.set(id, victim);
    return victim;
  }

  async close(): Promise<void> {
    this.#socket.close();
    await once(this.#socket, 'close');
  }

  #receive(request: Request): void {
    if (request.octets.equals(RESET)) {
      for (const victim of this.#victims.values()) victim.hearReset(request.from);
      return;
    }
    this.#victims.get(nodeOf(request))?.hearRequest(request);
  }
}

/** One node, in the attempt it is making now. */
class Victim {
  readonly #socket: Socket;
  readonly #random: SeededRandom;
  #request: Request | undefined;
  #sent = 0;
  #onReset: () => void = () => undefined;
  #onRequest: () => void = () => undefined;

  constructor(socket: Socket, random: SeededRandom) {
    this.#socket = socket;
    this.#random = random;
  }

  hearReset({ port }: RemoteInfo): void {
    if (port === this.#request?.from.port) this.#onReset();
  }

  hearRequest(request: Request): void {
    this.#request = request;
    this.#onRequest();
  }

  /** Sends so many, over as many attempts as it takes. */
  async send(count: number, report: (sent: number) => void): Promise<void> {
    for (let sent = 0; sent < count;) {
      if (this.#request === undefined) await new Promise<void>((resolve) => (this.#onRequest = resolve));
      const request = this.#request;
      if (request === undefined) continue;
      for (const end = Math.min(count, sent + MAX_PER_ATTEMPT); sent < end && request === this.#request;) {
        const burst = Math.min(BURST, end - sent);
        for (let i = 0; i < burst; i++) this.#transmit(mutant(this.#random), request);
        sent += burst;
        this.#sent += burst;
        report(this.#sent);
        if (!(await this.#isListening(request))) break;
      }
      for (let i = 0; i < ANSWERS_TO_END_ATTEMPT; i++) this.#transmit(this.#answer(request), request);
      if (request === this.#request) this.#request = undefined;
    }
  }

  /** All that was sent so far has been looked at; false: nobody is there any more. */
  async #isListening(request: Request): Promise<boolean> {
    for (let i = 0; i < PROBES; i++) {
      const reset = new Promise<true>((resolve) => (this.#onReset = () => resolve(true)));
      this.#transmit(PROBE, request);
      if ((await Promise.race([reset, pause(PROBE_TIMEOUT_MS)])) === true) return true;
    }
    return false;
  }

  /**
   * Whoever talks rubbish may also tell a node to wait for ten minutes, as profile 1 has it; there
   * is no time for that here.
   */
  #answer(request: Request): Buffer {
    for (;;) {
      const answer = answering(request, mutant(this.#random));
      if (parseDatagram(answer)?.options.some(({ number }) => number === OPTION.maxAge) !== true) return answer;
    }
  }

  #transmit(octets: Buffer, { from }: Request): void {
    this.#socket.send(octets, from.port, from.address, () => undefined);
  }
}

/**
 * The mutant under the request's message ID and token, as an answer 2.04 or what the mutant has for
 * a code.
 */
function answering({ octets: request }: Request, mutated: Buffer): Buffer {
  const tokenLength = (request[0] ?? 0) & 0x0f;
  const rest = mutated.subarray(Math.min(mutated.length, 6));
  const code = (mutated[1] ?? 0) >= 0x40 ? mutated[1] : 0x44;
  return Buffer.concat([Buffer.of(0x60 | tokenLength, code ?? 0x44), request.subarray(2, 4 + tokenLength), rest]);
}

/** ID_i, from the end of a request with an M1. */
function nodeOf({ octets }: Request): string {
  return octets.subarray(-20, -16).toString('hex');
}
