/** The sockets of a flood: many source addresses of one machine. */

import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

/**
 * Opens a socket at each of `count` addresses of 127.1.0.0/16, 250 to a /24.
 *
 * @param target the UDP port that is flooded
 */
export async function openFloodSources(
  count: number,
  target: number,
  receive: (socket: Socket, octets: Buffer) => void,
): Promise<Socket[]> {
  const sockets: Socket[] = [];
  while (sockets.length < count) {
    const i = sockets.length;
    const socket = createSocket({ type: 'udp4', recvBufferSize: 4_096 });
    socket.on('message', (octets) => receive(socket, octets));
    socket.on('error', () => undefined);
    socket.bind(0, `127.1.${Math.floor(i / 250)}.${1 + (i % 250)}`);
    await once(socket, 'listening');
    // On one machine an answer to that port would look like a request that the target itself sent.
    if (socket.address().port === target) socket.close();
    else sockets.push(socket);
  }
  return sockets;
}
