/**
 * A process that sends M1 as fast as it can, from many source addresses of 127.0.0.0/8, each bound
 * and never read from by the one it pretends to be: for known IDs, unknown ones, one ID alone.
 *
 *   node flooder.js PORT SOURCES SECONDS IDS    IDS: hex, separated by commas; each second M1 bears one of them
 *
 * It prints one JSON object when it is through.
 */

import { createSocket, type Socket } from 'node:dgram';
import { randomBytes, randomInt } from 'node:crypto';
import { once } from 'node:events';

const BATCH_SIZE = 64;
const M1_LENGTH = 21;
/** CON POST, a token of 2 octets, Uri-Path "k", the payload marker. */
const HEADER = Buffer.of(0x42, 0x02, 0, 0, 0, 0, 0xb1, 0x6b, 0xff);
const ID_OFFSET = HEADER.length + 1;

const [port = 0, sources = 0, seconds = 0] = process.argv.slice(2, 5).map(Number);
const ids = (process.argv[5] ?? '').split(',').filter((id) => id !== '');

const sockets: Socket[] = [];
let answers = 0;
for (let i = 0; sockets.length < sources;) {
  const socket = createSocket({ type: 'udp4', recvBufferSize: 4_096 });
  socket.on('message', () => (answers += 1));
  socket.on('error', () => undefined);
  socket.bind(0, `127.1.${Math.floor(i / 250)}.${1 + (i % 250)}`);
  await once(socket, 'listening');
  // On one machine what is answered to that port would look like a question of the controller's
  // own.
  if (socket.address().port === port) {
    socket.close();
    continue;
  }
  sockets.push(socket);
  i += 1;
}
process.stdout.write(`${JSON.stringify({ msg: 'flooding', sources: sockets.length })}\n`);

let sent = 0;
const end = performance.now() + seconds * 1_000;
while (performance.now() < end) {
  const noise = randomBytes(BATCH_SIZE * (M1_LENGTH + 4));
  for (let i = 0; i < BATCH_SIZE; i++, sent++) {
    const at = i * (M1_LENGTH + 4);
    const datagram = Buffer.concat([HEADER, noise.subarray(at, at + M1_LENGTH)]);
    noise.copy(datagram, 2, at + M1_LENGTH, at + M1_LENGTH + 4);
    datagram[HEADER.length] = 0x11;
    if (ids.length > 0 && sent % 2 === 0) datagram.write(ids[randomInt(ids.length)] ?? '', ID_OFFSET, 'hex');
    sockets[randomInt(sockets.length)]?.send(datagram, port, '127.0.0.1');
  }
  await new Promise(setImmediate);
}
process.stdout.write(`${JSON.stringify({ msg: 'flooded', sent, answers, perSecond: Math.round(sent / seconds) })}\n`);
process.exitCode = 0;
for (const socket of sockets) socket.close();
