/**
 * The profile over real sockets on loopback: Latchkey's CoAP server and client, and a path between
 * them on which datagrams can be put.
 */

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { REFUSALS } from '@latchkey/protocol';
import { CoapClient, CoapServer, type PostResponse, type PostRequest } from '@latchkey/coap';
import { createLog } from '@latchkey/runtime/daemon';
import type { Endpoint } from '@latchkey/runtime/net';
import type { ProfileNetwork, ProfileNode } from './profile.js';

const LOOPBACK = '127.0.0.1';
/** Octets of token that the node-agent draws. */
const TOKEN_LENGTH = 4;
/** No answer on loopback takes longer unless it was lost, in ms. */
const DEADLINE_MS = 5_000;

/** The controller of `network` behind Latchkey's CoAP server. */
export async function listen(network: ProfileNetwork): Promise<CoapServer> {
  const answer = ({ payload, source }: PostRequest): PostResponse => {
    const decision = network.decide(payload, source);
    switch (decision.kind) {
      case 'relay':
        throw new Error('the controller of the profile network is not pass-through');
      case 'challenge':
        return 'challenge';
      case 'answer':
        return { code: '2.04', payload: decision.octets };
      case 'refuse':
        return { code: REFUSALS[decision.refusal].code };
      case 'forward': {
        const { transaction } = decision;
        const judged = network
          .respondent()
          .receiveLinkAnswer(transaction, network.serve(transaction.request!) ?? new Uint8Array());
        return judged.kind === 'answer' ? { code: '2.04', payload: judged.octets } : { code: '4.03' };
      }
    }
  };
  return CoapServer.listen({
    listen: { host: LOOPBACK, port: 0 },
    resourceType: 'latchkey.sbr',
    answer,
    log: await createLog('attack-lab', 'error', 'stderr'),
  });
}

async function bindSocket(): Promise<Socket> {
  const socket = createSocket('udp4').bind(0, LOOPBACK);
  await once(socket, 'listening');
  return socket;
}

/**
 * Passes a node's datagrams on to the controller, and its answers back, from the address the node
 * knows.
 */
export class MitmRelay {
  readonly #front: Socket;
  readonly #back: Socket;
  #node: RemoteInfo | undefined;

  private constructor(
    front: Socket,
    back: Socket,
    controller: Endpoint,
    intercept: (request: Buffer, path: MitmRelay) => 'pass' | 'stop',
  ) {
    this.#front = front;
    this.#back = back;
    front.on('message', (octets, node) => {
      this.#node = node;
      if (intercept(octets, this) === 'pass') back.send(octets, controller.port, controller.host);
    });
    back.on('message', (octets) => this.toNode(octets));
  }

  /** `intercept` sees each request before it is passed on, and says whether it is. */
  static async open(controller: Endpoint, intercept: (request: Buffer, path: MitmRelay) => 'pass' | 'stop'): Promise<MitmRelay> {
    return new MitmRelay(await bindSocket(), await bindSocket(), controller, intercept);
  }

  get endpoint(): Endpoint {
    const { address, port } = this.#front.address();
    return { host: address, port };
  }

  /** A datagram with the controller's address as its source. */
  toNode(octets: Uint8Array): void {
    if (this.#node !== undefined) this.#front.send(octets, this.#node.port, this.#node.address);
  }

  close(): void {
    this.#front.close();
    this.#back.close();
  }
}

/**
 * Runs one exchange of the node with the peer at `peer`. Returns the payload that `accept` accepts,
 * or how the exchange ended without.
 */
async function exchange<T>(
  client: CoapClient,
  payload: Uint8Array,
  deadlineMs: number,
  accept: (octets: Uint8Array) => T | undefined,
): Promise<T | undefined> {
  const send = (echo?: Buffer): ReturnType<typeof client.exchange<{ echo?: Buffer | undefined; accepted?: T }>> =>
    client.exchange({
      payload,
      deadlineMs,
      maxIgnored: 16,
      echo,
      accept: (response) => {
        if (response.code !== '2.04') return { echo: response.echo };
        const accepted = accept(response.payload);
        return accepted === undefined ? undefined : { accepted };
      },
    });
  const first = await send();
  const echo = first.kind === 'answered' ? first.value.echo : undefined;
  const outcome = echo === undefined ? first : await send(echo);
  return outcome.kind === 'answered' ? outcome.value.accepted : undefined;
}

/** One attempt of a node over CoAP; whether it joined. */
export async function attemptOver(peer: Endpoint, node: ProfileNode, deadlineMs: number = DEADLINE_MS): Promise<boolean> {
  const client = await CoapClient.connect({ peer, tokenLength: TOKEN_LENGTH, maxInFlight: 1 });
  try {
    const m5 = await exchange(client, node.m1(), deadlineMs, (octets) => node.receiveM4(octets));
    return m5 !== undefined && (await exchange(client, m5, deadlineMs, (octets) => node.receiveM6(octets) || undefined)) === true;
  } finally {
    await client.close();
  }
}

/**
 * Sends each request from an address that is not validated, and acknowledges nothing. Returns the
 * first answer.
 */
export async function sendUnvalidated(peer: Endpoint, requests: readonly Buffer[]): Promise<(Buffer | undefined)[]> {
  const socket = await bindSocket();
  const answers: (Buffer | undefined)[] = [];
  try {
    for (const request of requests) {
      socket.send(request, peer.port, peer.host);
      const answer = once(socket, 'message', { signal: AbortSignal.timeout(DEADLINE_MS) }).catch(() => []);
      answers.push(((await answer) as [Buffer?])[0]);
    }
    return answers;
  } finally {
    socket.close();
  }
}
