/** Networks that a token may be used from: addresses, and addresses with a length of prefix. */

import type { IncomingHttpHeaders } from 'node:http';
import { BlockList, isIP } from 'node:net';
import { unmapIPv4 } from '@latchkey/runtime/net';

const NETWORK = /^([0-9a-fA-F:.]+)(?:\/(\d{1,3}))?$/;

/** Returns false for a text that is no network. */
export function isNetwork(text: string): boolean {
  return parse(text) !== undefined;
}

/** Whether an address is in one of the networks. An address that is not known is in none. */
export function isInNetworks(address: string | undefined, networks: readonly string[]): boolean {
  if (networks.length === 0) return true;
  const family = address === undefined ? 0 : isIP(address);
  if (address === undefined || family === 0) return false;
  return networks.some((text) => {
    const network = parse(text);
    if (network?.family !== family) return false;
    const list = new BlockList();
    list.addSubnet(network.address, network.prefix, family === 4 ? 'ipv4' : 'ipv6');
    return list.check(address, family === 4 ? 'ipv4' : 'ipv6');
  });
}

/** The source that a rate limit counts: an IPv4 address, or a /64 of IPv6. */
export function sourceOf(address: string | undefined): string {
  if (address === undefined || isIP(address) !== 6) return address ?? 'unknown';
  const [head = '', tail] = address.split('::');
  const parts = head === '' ? [] : head.split(':');
  const after = tail === undefined || tail === '' ? [] : tail.split(':');
  const gap = tail === undefined ? 0 : 8 - parts.length - after.length;
  return [...parts, ...Array.from({ length: Math.max(0, gap) }, () => '0'), ...after].slice(0, 4).join(':');
}

/** An address of the text of a proxy, or `undefined` if it is none. */
export function clientAddress(text: string | undefined): string | undefined {
  const address = unmapIPv4((text ?? '').split(',').at(-1)?.trim() ?? '');
  return isIP(address) === 0 ? undefined : address;
}

/** The caller's address, as the proxy of a unix socket reports it. */
export function forwardedAddress({ 'x-forwarded-for': forwarded }: IncomingHttpHeaders): string | undefined {
  return clientAddress(Array.isArray(forwarded) ? forwarded.at(-1) : forwarded);
}

function parse(text: string): { readonly address: string; readonly prefix: number; readonly family: 4 | 6 } | undefined {
  const [, address = '', length] = NETWORK.exec(text) ?? [];
  const family = isIP(address);
  if (family !== 4 && family !== 6) return undefined;
  const bits = family === 4 ? 32 : 128;
  const prefix = length === undefined ? bits : Number(length);
  return prefix > bits ? undefined : { address, prefix, family };
}
