/**
 * Identity of an address: NID as in the protocol, and the network under which a source is counted.
 */

import { isIPv4 } from 'node:net';
import { NID_LENGTH } from '@latchkey/protocol';
import ipaddr from 'ipaddr.js';
import { formatEndpoint, unmapIPv4 } from './endpoint.js';

/**
 * Returns the prefix under which a source is counted: the address itself for IPv4, the /64 for
 * IPv6.
 */
export function sourcePrefix(address: string): string {
  if (isIPv4(address)) return address;
  const parsed = ipaddr.parse(address.replace(/%.*$/, ''));
  if (parsed instanceof ipaddr.IPv4 || parsed.range() === 'linkLocal') return address;
  return `${parsed.toByteArray().slice(0, 8).join('.')}/64`;
}

/** Prefix of an IPv4 address mapped into IPv6 (RFC 4291 section 2.5.5.2). */
const IPV4_MAPPED_PREFIX: readonly number[] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/** NID: IPv6 (or IPv4-mapped) address 16 octets, UDP port 2. */
export function encodeNid(address: string, port: number): Uint8Array {
  const plain = unmapIPv4(address);
  if (isIPv4(plain)) {
    const nid = new Uint8Array(NID_LENGTH);
    nid.set(IPV4_MAPPED_PREFIX);
    let at = IPV4_MAPPED_PREFIX.length;
    for (const octet of plain.split('.')) nid[at++] = Number(octet);
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
  if (IPV4_MAPPED_PREFIX.every((octet, i) => nid[i] === octet)) return `${nid[12]}.${nid[13]}.${nid[14]}.${nid[15]}:${port}`;
  return formatEndpoint({ host: ipaddr.process(ipaddr.fromByteArray([...nid.subarray(0, 16)]).toString()).toString(), port });
}
