/**
 * A request over CoAP as RFC 7252 (at the draft's time: draft-ietf-core-coap-18) has it, at a node
 * that does what they say and no more: one request at a time, so that the token may be empty
 * (section 5.3.1); a Reset ends it (section 4.2); an empty ACK ends its retransmission (section
 * 5.2.2); the first response that matches is the response (section 5.3.2).
 */

import { randomBytes } from 'node:crypto';
import { type Header, headerOf, MESSAGE_TYPE } from './datagram.js';

export class DraftExchange {
  readonly #messageId: number = randomBytes(2).readUInt16BE();
  readonly token: Buffer = Buffer.alloc(0);
  #over = false;
  retransmits = true;
  /** The response's payload if it is a success. */
  payload: Buffer | undefined;

  /** What the true peer, and nobody off the path, sees of it. */
  get request(): Pick<Header, 'messageId' | 'token'> {
    return { messageId: this.#messageId, token: this.token };
  }

  /** A datagram from the controller's address, which anybody can write into a datagram. */
  receive(octets: Buffer): void {
    const { type, code, messageId, token } = headerOf(octets);
    if (this.#over) return;
    if (type === MESSAGE_TYPE.RST && messageId === this.#messageId) this.#over = true;
    else if (type === MESSAGE_TYPE.ACK && messageId !== this.#messageId) return;
    else if (type === MESSAGE_TYPE.ACK && code === 0) this.retransmits = false;
    else if (code !== 0 && token.equals(this.token)) {
      this.#over = true;
      if (code >> 5 === 2) this.payload = octets.subarray(4 + token.length + 1);
    }
  }
}
