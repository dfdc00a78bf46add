/**
 * A process that sends M1 as fast as it can, from many source addresses of 127.0.0.0/8, each bound
 * and never read from by the one it pretends to be: for known IDs, unknown ones, one ID alone.
 *
 *   node flooder.js PORT SOURCES SECONDS IDS    IDS: hex, separated by commas; each second M1 bears one of them
 *
 * It prints one JSON object when it is through.
 */

import { randomBytes, randomInt } from 'node:crypto';
import { openFloodSources } from './flood-sources.js';

const BATCH_SIZE = 64;
const M1_LENGTH = 21;
/** CON POST, a token of 2 octets, Uri-Path "k", the payload marker. */
const HEADER = Buffer.of(0x42, 0x02, 0, 0, 0, 0, 0xb1, 0x6b, 0xff);
const ID_OFFSET = HEADER.length + 1;

const [port = 0, sources = 0, seconds = 0] = process.argv.slice(2, 5).map(Number);
const ids = (process.argv[5] ?? '').split(',').filter((id) => id !== '');

let answers = 0;
const sockets = await openFloodSources(sources, port, () => {
  answers += 1;
});
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
