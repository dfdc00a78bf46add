/** CoAP ping (RFC 7252 section 4.3): an empty confirmable message, which whoever speaks CoAP answers with a Reset and remembers nothing of. */

import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { setTimeout as pause } from 'node:timers/promises';
import { addressOf, type Endpoint } from '../endpoint.js';
import { Failure } from '../failure.js';
import { emptyMessage, MESSAGE_TYPE, parseDatagram } from './datagram.js';
import { ConnectedSocket } from './socket.js';

/** Three in all, so that a lost one or two do not count; ms. */
const AGAIN_AFTER_MS = [300, 700, 1_000];

/** Whether something that speaks CoAP answers at `peer`, within 2 seconds and the time its name takes. */
export async function ping(peer: Endpoint): Promise<boolean> {
  const messageId = randomInt(0x1_00_00);
  const answered = new AbortController();
  try {
    const { address, family } = await addressOf(peer);
    const socket = new ConnectedSocket(family, (octets) => {
      const datagram = parseDatagram(octets);
      if (datagram?.type === MESSAGE_TYPE.RST && datagram.messageId === messageId) answered.abort();
      return undefined;
    });
    // Nobody there: the system says so, and the next one may be heard.
    socket.on('error', () => undefined);
    try {
      const connected = once(socket, 'connect');
      socket.connect(peer.port, address);
      await connected;
      for (const wait of AGAIN_AFTER_MS) {
        socket.send(emptyMessage(MESSAGE_TYPE.CON, messageId), () => undefined);
        await pause(wait, undefined, { signal: answered.signal, ref: false }).catch(() => undefined);
        if (answered.signal.aborted) return true;
      }
      return false;
    } finally {
      socket.close();
    }
  } catch (error) {
    if (error instanceof Failure || (error instanceof Error && 'syscall' in error)) return false;
    throw error;
  }
}
