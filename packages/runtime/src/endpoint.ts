/** HOST:PORT as people write it, and NID as the protocol does. */

import { isIP, isIPv4 } from 'node:net';
import { NID_LENGTH } from '@latchkey/protocol';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { systemFailure } from './failure.js';

/** Where a peer is: a name or address, and a UDP port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** `HOST:PORT`, `192.0.2.1:5683` or `[2001:db8::1]:5683`; `undefined` if it is none of these. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[(?<v6>[\w:.%-]+)\]|(?<name>[^\s:[\]/]+)):(?<port>\d{1,5})$/.exec(text);
  const { v6, name, port } = match?.groups ?? {};
  const host = v6 ?? name;
  if (host === undefined || Number(port) > 65_535) return undefined;
  if (v6 !== undefined && isIP(v6) !== 6) return undefined;
  // Digits and dots are an IPv4 address, or a mistake.
  if (name !== undefined && /^[\d.]+$/.test(name) && isIP(name) !== 4) return undefined;
  return { host, port: Number(port) };
}

export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/** A schema for HOST:PORT where a peer is reached: the port is not 0. */
export const peerSchema: z.ZodType<Endpoint, string> = endpointSchema(1);

/** A schema for HOST:PORT to listen on: port 0 lets the system choose. */
export const listenSchema: z.ZodType<Endpoint, string> = endpointSchema(0);

function endpointSchema(lowestPort: number): z.ZodType<Endpoint, string> {
  return z.string().transform((text, context) => {
    const endpoint = parseEndpoint(text);
    if (endpoint !== undefined && endpoint.port >= lowestPort) return endpoint;
    context.addIssue({ code: 'custom', message: `expected HOST:PORT, e.g. 192.0.2.7:5683 or [2001:db8::7]:5683` });
    return z.NEVER;
  });
}

/** The address a name stands for now. */
export async function addressOf(endpoint: Endpoint): Promise<{ readonly address: string; readonly family: 4 | 6 }> {
  const literal = isIP(endpoint.host.replace(/%.*$/, ''));
  if (literal !== 0) return { address: endpoint.host, family: literal === 6 ? 6 : 4 };
  try {
    const { lookup } = await import('node:dns/promises');
    const { address, family } = await lookup(endpoint.host);
    return { address, family: family === 6 ? 6 : 4 };
  } catch (error) {
    throw systemFailure(`cannot find ${formatEndpoint(endpoint)}`, error);
  }
}

/** One spelling per address: IPv4 in its own, without the mapping a dual-stack socket puts around it. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}

/** Whom an address stands for where sources are counted: an IPv4 address for itself, an IPv6 address for its /64. */
export function networkOf(address: string): string {
  if (isIPv4(address)) return address;
  const parsed = ipaddr.parse(address.replace(/%.*$/, ''));
  if (parsed instanceof ipaddr.IPv4 || parsed.range() === 'linkLocal') return address;
  return `${parsed.toByteArray().slice(0, 8).join('.')}/64`;
}

/** What stands before an IPv4 address mapped into IPv6 (RFC 4291 section 2.5.5.2). */
const MAPPED: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** NID: IPv6 (or IPv4-mapped) address 16 octets, UDP port 2. */
export function encodeNid(address: string, port: number): Uint8Array {
  const plain = plainAddress(address);
  if (isIPv4(plain)) {
    const nid = new Uint8Array(NID_LENGTH);
    nid.set(MAPPED);
    for (const [i, octet] of plain.split('.').entries()) nid[MAPPED.length + i] = Number(octet);
    nid[16] = port >> 8;
    nid[17] = port & 0xff;
    return nid;
  }
  const parsed = ipaddr.parse(address.replace(/%.*$/, ''));
  const v6 = parsed instanceof ipaddr.IPv4 ? parsed.toIPv4MappedAddress() : parsed;
  return Uint8Array.from([...v6.toByteArray(), port >> 8, port & 0xff]);
}

/** A NID as `192.0.2.7:49152` or `[2001:db8::7]:49152`. */
export function formatNid(nid: Uint8Array): string {
  if (nid.length !== NID_LENGTH) throw new RangeError(`a NID has ${NID_LENGTH} octets`);
  const port = ((nid[16] ?? 0) << 8) | (nid[17] ?? 0);
  if (MAPPED.every((octet, i) => nid[i] === octet)) return `${nid.subarray(12, 16).join('.')}:${port}`;
  return formatEndpoint({ host: ipaddr.process(ipaddr.fromByteArray([...nid.subarray(0, 16)]).toString()).toString(), port });
}
