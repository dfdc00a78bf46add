/** HOST:PORT as people write it. */

import { isIP, SocketAddress } from 'node:net';
import * as z from 'zod/mini';
import { systemFailure } from './failure.js';

/** Where a peer is: a name or address, and a UDP port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** `HOST:PORT`, `192.0.2.1:5683` or `[2001:db8::1]:5683`; `undefined` if it is none of these. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const match = /^(?:\[(?<v6>[\w:.%-]+)\]|(?<name>[\p{L}\p{M}\p{N}._-]+)):(?<port>\d{1,5})$/u.exec(text);
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

/** HOST:PORT where a peer is reached; `undefined` also for what is there to listen on alone: port 0, 0.0.0.0 and [::]. */
export function parsePeer(text: string): Endpoint | undefined {
  const endpoint = parseEndpoint(text);
  return endpoint === undefined || endpoint.port === 0 || UNSPECIFIED.test(endpoint.host) ? undefined : endpoint;
}

/** Every address of a machine, in IPv4, IPv6, and IPv4 within IPv6; whatever zone it has. */
const UNSPECIFIED = /^(?:[0:]*:ffff:)?[0:.]+(?:%.*)?$/i;

/** What was expected of a text that is no HOST:PORT, or none of a peer. */
export function describePeer(text: string): string {
  const unspecified = UNSPECIFIED.test(parseEndpoint(text)?.host ?? '');
  return `expected HOST:PORT, e.g. 192.0.2.7:5683 or [2001:db8::7]:5683${unspecified ? '; 0.0.0.0 and [::] are for listening alone' : ''}`;
}

/** A schema for HOST:PORT where a peer is reached. */
export const peerSchema: z.ZodMiniType<Endpoint, string> = endpointSchema(parsePeer, describePeer);

/** A schema for HOST:PORT to listen on: port 0 lets the system choose. */
export const listenSchema: z.ZodMiniType<Endpoint, string> = endpointSchema(parseEndpoint, describePeer);

function endpointSchema(
  parse: (text: string) => Endpoint | undefined,
  describe: (text: string) => string,
): z.ZodMiniType<Endpoint, string> {
  return z.pipe(
    z.string(),
    z.transform((text, { issues }) => {
      const endpoint = parse(text);
      if (endpoint !== undefined) return endpoint;
      issues.push({ code: 'custom', message: describe(text), input: text });
      return z.NEVER;
    }),
  );
}

export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/** One at least. */
export type Addresses = readonly [Address, ...Address[]];

/**
 * Look-ups under way, by name. The system's look-up occupies a thread that file access needs too, so one look-up serves all who
 * ask at the same time. No result is kept: a name may mean another address the next time.
 */
const lookingUp = new Map<string, Promise<Addresses>>();

/** Returns the addresses that a name means now, in the order in which the system would try them. */
export async function addressesOf(endpoint: Endpoint): Promise<Addresses> {
  const literal = literalAddress(endpoint.host);
  if (literal !== undefined) return [literal];
  try {
    let found = lookingUp.get(endpoint.host);
    if (found === undefined) {
      found = lookUp(endpoint.host).finally(() => lookingUp.delete(endpoint.host));
      lookingUp.set(endpoint.host, found);
    }
    return await found;
  } catch (error) {
    throw systemFailure(`cannot find ${formatEndpoint(endpoint)}`, error);
  }
}

async function lookUp(name: string): Promise<Addresses> {
  const { lookup } = await import('node:dns/promises');
  const found = await lookup(name, { all: true });
  const [first, ...others] = found.map(({ address, family }): Address => ({ address, family: family === 6 ? 6 : 4 }));
  if (first === undefined) throw Object.assign(new Error('no address'), { code: 'ENOTFOUND' });
  return [first, ...others];
}

/** In the system's own spelling. IPv4 within IPv6 is IPv4: our sockets of IPv6 take nothing else. */
function literalAddress(host: string): Address | undefined {
  if (isIP(host) === 4) return { address: host, family: 4 };
  if (isIP(host.replace(/%.*$/, '')) !== 6) return undefined;
  if (host.includes('%')) return { address: host, family: 6 };
  const address = plainAddress(new SocketAddress({ address: host, family: 'ipv6' }).address);
  return { address, family: isIP(address) === 4 ? 4 : 6 };
}

/** One spelling per address: IPv4 in its own, without the mapping a dual-stack socket puts around it. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}
