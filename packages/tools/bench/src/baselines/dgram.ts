/**
 * Bare UDP sockets over the same hops: a token is copied from each request to its answer, and
 * nothing else is looked at.
 */

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Endpoint } from '@latchkey/runtime/net';
import { LINK_REQUESTS, NODE_REQUESTS } from './sizes.js';

const RECEIVE_BUFFER = 4 * 1024 * 1024;
/**
 * As `coap` sends them: a request has its head, Uri-Path and payload marker besides the token; an
 * answer head and marker.
 */
const NODE = { token: 4, request: 4 + 4 + 2 + 1, answer: 4 + 4 + 1 } as const;
const LINK = { token: 8, request: 4 + 8 + 2 + 1, answer: 4 + 8 + 1 } as const;
const ACK_CHANGED = 0x44;

async function bindSocket(): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER });
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  return socket;
}

function addressOf(socket: Socket): string {
  const { address, port } = socket.address();
  return `${address}:${port}`;
}

/** The head of `request` as an ACK with 2.04, then `payload`. */
function answer(request: Buffer, token: number, payload: Buffer): Buffer {
  const octets = Buffer.allocUnsafe(4 + token + 1 + payload.length);
  request.copy(octets, 0, 0, 4 + token);
  octets[0] = 0x60 | token;
  octets[1] = ACK_CHANGED;
  octets[4 + token] = 0xff;
  payload.copy(octets, 5 + token);
  return octets;
}

export async function dgramServer(): Promise<string> {
  const socket = await bindSocket();
  socket.on('message', (octets, { port, address }) => {
    const answered = LINK_REQUESTS.get(octets.length - LINK.request);
    if (answered !== undefined) socket.send(answer(octets, LINK.token, answered.answer), port, address);
  });
  return addressOf(socket);
}

export async function dgramController(server: Endpoint): Promise<string> {
  const [front, back] = [await bindSocket(), await bindSocket()];
  back.connect(server.port, server.host);
  await once(back, 'connect');
  const waiting = new Map<number, { readonly octets: Buffer; readonly port: number; readonly address: string }>();
  let token = 0;
  front.on('message', (octets, { port, address }) => {
    const asked = NODE_REQUESTS.get(octets.length - NODE.request);
    if (asked === undefined) return;
    token = (token + 1) >>> 0;
    const request = Buffer.alloc(LINK.request + asked.request.length, 1);
    request.writeUInt32BE(token, 4);
    waiting.set(token, { octets, port, address });
    back.send(request);
  });
  back.on('message', (octets) => {
    const key = octets.readUInt32BE(4);
    const asked = waiting.get(key);
    if (asked === undefined) return;
    waiting.delete(key);
    const payload = NODE_REQUESTS.get(asked.octets.length - NODE.request)?.answer ?? Buffer.alloc(0);
    front.send(answer(asked.octets, NODE.token, payload), asked.port, asked.address);
  });
  return addressOf(front);
}
