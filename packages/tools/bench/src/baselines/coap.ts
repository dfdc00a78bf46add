/**
 * The `coap` package alone, with the settings that Latchkey uses it with: own sockets, no cache,
 * piggybacked answers, 32 agents.
 */

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import type { Endpoint } from '@latchkey/runtime/net';
import { openStore } from '@latchkey/lmdb';
import { Agent, createServer, type IncomingMessage, type OutgoingMessage, updateTiming } from 'coap';
import { LINK_REQUESTS, NODE_REQUESTS, ROW_LENGTH } from './sizes.js';

const RECEIVE_BUFFER = 4 * 1024 * 1024;
/** The longest that a timer can run. */
const NEVER_SEPARATE_MS = 2 ** 31 - 1;
const AGENTS = 32;
const TOKEN_LENGTH = 8;
/** Rows that are written over and over. */
const ROWS = 10_000;

// As packages/coap/src/server.ts: a response is kept for 2 s, not for 202 s.
updateTiming({ maxLatency: 0 });

function newSocket(): Socket {
  return createSocket({ type: 'udp4', recvBufferSize: RECEIVE_BUFFER });
}

async function serve(answer: (payload: Buffer) => Promise<Buffer>): Promise<string> {
  const server = createServer({ cacheSize: 1, piggybackReplyMs: NEVER_SEPARATE_MS });
  server.on('request', (request: IncomingMessage, response: OutgoingMessage) => {
    const send = async (): Promise<void> => {
      const octets = await answer(request.payload);
      response.code = '2.04';
      response.end(octets);
    };
    void send();
  });
  const socket = newSocket();
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  server.listen(socket);
  const { address, port } = socket.address();
  return `${address}:${port}`;
}

/** @param store folder of a store that is made for it */
export async function coapServer(store: string): Promise<string> {
  const env = await openStore<Buffer, number>(store, { keyEncoding: 'uint32', encoding: 'binary' });
  const row = Buffer.alloc(ROW_LENGTH, 1);
  let next = 0;
  return serve(async (payload) => {
    const answered = LINK_REQUESTS.get(payload.length);
    if (answered === undefined) throw new Error(`a request of ${payload.length} octets`);
    next = (next + 1) % ROWS;
    const key = next;
    if (answered.durable) await env.transaction(() => env.putSync(key, row));
    return answered.answer;
  });
}

export async function coapController(server: Endpoint): Promise<string> {
  const agents = await Promise.all(
    Array.from({ length: AGENTS }, async () => {
      const socket = newSocket();
      socket.bind(0, '127.0.0.1');
      await once(socket, 'listening');
      return new Agent({ socket });
    }),
  );
  let turn = 0;
  let token = 0;
  return serve((payload) => {
    const asked = NODE_REQUESTS.get(payload.length);
    if (asked === undefined) throw new Error(`a request of ${payload.length} octets`);
    turn = (turn + 1) % AGENTS;
    const octets = Buffer.alloc(TOKEN_LENGTH);
    octets.writeUInt32BE((token = (token + 1) >>> 0), 4);
    const request = agents[turn]?.request({
      hostname: server.host,
      port: server.port,
      pathname: '/k',
      method: 'POST',
      confirmable: true,
      token: octets,
    });
    return new Promise((resolve, reject) => {
      request?.on('response', () => resolve(asked.answer));
      request?.on('error', reject);
      request?.end(asked.request);
    });
  });
}
