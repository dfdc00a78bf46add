/**
 * A process that sends wrong M5 from many source addresses of 127.0.0.0/8, 1,000 a second. A source
 * that is asked to prove its address proves it, and sends the M5 again.
 *
 *   node proof-flooder.js PORT SOURCES
 *
 * Each line of its standard input is a TID, 16 hex digits: from then on M5 bear that one. It ends
 * with its standard input, and prints one JSON object a line: `ready`, then `flooded` with counts.
 */

import type { Socket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { OPTION, parseDatagram } from '@latchkey/coap';
import { openFloodSources } from './flood-sources.js';

const PER_SECOND = 1_000;
const TICK_MS = 5;
const C5_LENGTH = 24;
/** CON POST, a token of 2 octets; then message ID and token, and Uri-Path "k". */
const HEADER = Buffer.of(0x42, 0x02);
const URI_PATH = Buffer.of(0xb1, 0x6b);
const PAYLOAD_MARKER = Buffer.of(0xff);
/** An option whose number is 241 above that of Uri-Path; its length follows in the lower half. */
const ECHO_DELTA = 0xd0;
const ECHO_EXTENSION = OPTION.echo - OPTION.uriPath - 13;

const [port = 0, sources = 0] = process.argv.slice(2, 4).map(Number);
const told: { tid: Buffer | undefined; isOver: boolean } = { tid: undefined, isOver: false };
let [sent, challenged, proven] = [0, 0, 0];

createInterface({ input: process.stdin })
  .on('line', (line) => (told.tid = Buffer.from(line, 'hex')))
  .on('close', () => (told.isOver = true));

function m5(echo?: Buffer): Buffer | undefined {
  const { tid } = told;
  if (tid === undefined) return undefined;
  const option = echo === undefined ? [] : [Buffer.of(ECHO_DELTA | echo.length, ECHO_EXTENSION), echo];
  return Buffer.concat([
    HEADER,
    randomBytes(4),
    URI_PATH,
    ...option,
    PAYLOAD_MARKER,
    Buffer.of(0x15),
    tid,
    randomBytes(C5_LENGTH),
  ]);
}

function receive(socket: Socket, octets: Buffer): void {
  const echo = parseDatagram(octets)?.options.find(({ number }) => number === OPTION.echo)?.value;
  if (echo === undefined || echo.length > 12) return;
  challenged += 1;
  const again = m5(echo);
  if (again === undefined) return;
  proven += 1;
  socket.send(again, port, '127.0.0.1');
}

const sockets = await openFloodSources(sources, port, receive);
process.stdout.write(`${JSON.stringify({ msg: 'ready', sources: sockets.length })}\n`);

let began: number | undefined;
for (let next = 0; !told.isOver;) {
  await pause(TICK_MS);
  if (told.tid === undefined) continue;
  began ??= performance.now();
  for (const due = ((performance.now() - began) / 1_000) * PER_SECOND; sent < due; sent++) {
    const datagram = m5();
    if (datagram !== undefined) sockets[next++ % sockets.length]?.send(datagram, port, '127.0.0.1');
  }
}
const seconds = began === undefined ? 0 : (performance.now() - began) / 1_000;
process.stdout.write(`${JSON.stringify({ msg: 'flooded', sent, challenged, proven, seconds: Math.round(seconds) })}\n`);
for (const socket of sockets) socket.close();
