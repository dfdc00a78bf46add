/**
 * What a key exchange puts on the air, message by message, in octets of UDP payload: Latchkey's as
 * it sends them, others' from their specifications, each for a device that has a pre-shared key.
 * Identities have 4 octets and tags 8 where there is a choice; tokens have 4.
 */

import { LENGTH } from '@latchkey/protocol';
import { packRequest } from '../load/wire.js';

export interface Message {
  readonly name: string;
  /** What it carries. */
  readonly payload: number;
  /** With all up to UDP. */
  readonly datagram: number;
  readonly source: string;
}

export interface Exchange {
  readonly name: string;
  /** What it does not do that Latchkey does, or the other way round. */
  readonly note: string;
  readonly messages: readonly Message[];
}

/** RFC 7252 section 3: head 4, token 4, payload marker 1. */
const COAP = 4 + 4 + 1;
/**
 * Options 252 of 12 octets (RFC 9175 section 2.2.1), after none and after Uri-Path alike: two
 * octets of head.
 */
const ECHO = 2 + 12;

function request(name: string, payload: number, source: string, options: number): Message {
  return { name, payload, datagram: COAP + options + payload, source };
}

/** As the load generator packs them, which the daemons answer. */
function latchkey(withEcho: boolean): readonly Message[] {
  const echo = withEcho ? Buffer.alloc(12) : undefined;
  const asked = (name: string, length: number, proof: Buffer | undefined): Message => {
    return { name, payload: length, datagram: packRequest(0, 0, proof, Buffer.alloc(length)).length, source: 'PROTOCOL.md' };
  };
  const proof = [
    asked('M1', LENGTH.M1, undefined),
    // Without a payload there is no marker.
    { name: '4.01, Echo', payload: 0, datagram: COAP - 1 + ECHO, source: 'RFC 9175 section 2.3' },
  ];
  return [
    ...(withEcho ? proof : []),
    asked('M1', LENGTH.M1, echo),
    request('M4', LENGTH.M4, 'PROTOCOL.md', 0),
    asked('M5', LENGTH.M5, echo),
    request('M6', LENGTH.M6, 'PROTOCOL.md', 0),
  ];
}

const IDENTITY = 4;
/** Code, identifier, length, type (RFC 3748 section 4.1), then flags (RFC 4764 section 5). */
const EAP = 5 + 1;
/** Nonce 4, tag 16, and one octet (RFC 4764 section 5.3). */
const PCHANNEL = 21;
/** Uri-Path `k` again. */
const SHORT_PATH = 2;

/** Uri-Path `.well-known` and `edhoc`, and a Content-Format of one octet (RFC 9528 section A.2). */
const EDHOC_REQUEST = 12 + 6 + 2;
const EDHOC_RESPONSE = 2;

/**
 * RFC 9031 section 8.1.1: Uri-Host `6tisch.arpa`, Proxy-Scheme `coap`; OSCORE with an EUI-64 as kid
 * context (RFC 8613 section 6.1).
 */
const COJP_REQUEST = 12 + 6 + (1 + 1 + 1 + 1 + 8);
/** Tag, and the code that is sealed (RFC 8613 section 5.3). */
const OSCORE = 8 + 1;

export const EXCHANGES: readonly Exchange[] = [
  { name: 'Latchkey', note: 'a new key, known to device and registry', messages: latchkey(false) },
  { name: 'Latchkey, address to be proven', note: 'the same, under load', messages: latchkey(true) },
  {
    name: 'EAP-PSK',
    note: 'session keys; the PSK stays. In CoAP as Latchkey’s; without EAP’s own Identity and Success',
    messages: [
      request('first', EAP + 16 + IDENTITY, 'RFC 4764 section 5.1', SHORT_PATH),
      request('second', EAP + 16 + 16 + 16 + IDENTITY, 'RFC 4764 section 5.2', 0),
      request('third', EAP + 16 + 16 + PCHANNEL, 'RFC 4764 section 5.3', SHORT_PATH),
      request('fourth', EAP + 16 + PCHANNEL, 'RFC 4764 section 5.4', 0),
    ],
  },
  {
    name: 'EDHOC-PSK',
    note: 'session keys with forward secrecy (P-256); the PSK stays',
    messages: [
      request('message_1', 1 + 37, 'RFC 9528 sections 5.2.1, A.2', EDHOC_REQUEST),
      request('message_2', 2 + 32 + 1, 'draft-ietf-lake-edhoc-psk, “Message 2”', EDHOC_RESPONSE),
      request('message_3', 1 + 1 + 1 + 9, 'draft-ietf-lake-edhoc-psk, “Message 3”', EDHOC_REQUEST),
      request('message_4', 9, 'RFC 9528 section 5.5', EDHOC_RESPONSE),
    ],
  },
  {
    name: 'DTLS 1.3 PSK',
    note: 'session keys; the PSK stays. No cookie, no connection ID, no request yet',
    messages: [130, 146, 55].map((octets, i) => ({
      name: `flight ${i + 1}`,
      payload: octets,
      datagram: octets,
      source: 'draft-ietf-iotops-security-protocol-comparison-09 section 2.1',
    })),
  },
  {
    name: 'CoJP',
    note: 'hands the network’s key to a device whose own stays; no proof that the device is there now',
    messages: [
      request('Join Request', OSCORE + 2 + 1 + 5, 'RFC 9031 section 8.1.1, appendix A', COJP_REQUEST),
      request('Join Response', OSCORE + 1 + 26, 'RFC 9031 section 8.1.2, appendix A', 1),
    ],
  },
];

export function total(messages: readonly Message[], what: 'payload' | 'datagram'): number {
  return messages.reduce((sum, message) => sum + message[what], 0);
}
