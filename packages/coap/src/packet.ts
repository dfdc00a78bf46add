/** Messages as `coap` takes them once they are parsed. */

import type { Agent } from 'coap';
import { codeText, type Datagram, MESSAGE_TYPE } from './datagram.js';

/** What `coap` makes of a datagram when it parses one itself. */
export type Packet = Parameters<Agent['_handle']>[0];

/**
 * Returns the packet of a datagram that the guard has parsed, so that `coap` does not parse it
 * again. It has no options: requests are routed, and responses judged, by the guard's datagram, and
 * no option that changes what `coap` does passes the guard.
 */
export function toPacket({ type, code, messageId, token, payload }: Datagram): Packet {
  return {
    code: codeText(code),
    confirmable: type === MESSAGE_TYPE.CON,
    reset: type === MESSAGE_TYPE.RST,
    ack: type === MESSAGE_TYPE.ACK,
    messageId,
    token,
    options: [],
    payload,
  };
}

/**
 * A copy of octets, as `coap` sends them: it copies a payload by a method that a Buffer has. A view
 * of an array in V8's heap would move it out, at several times the price.
 */
export function payloadOf(octets: Uint8Array): Buffer {
  return Buffer.from(octets);
}
