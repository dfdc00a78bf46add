/** HOST:PORT as people write it. */

import { isIP, SocketAddress } from 'node:net';
import * as z from 'zod/mini';
import { textError } from '../config/zod-error-map.js';
import { Failure, systemCode, systemFailure } from '../failure.js';

/** Address of a peer: a name or address, and a UDP port. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

const MAX_PORT = 65_535;
/** Octets of an interface's name: IFNAMSIZ of Linux without the terminator. */
const MAX_INTERFACE_NAME = 15;
/** fe80::/10: an address that means nothing without the link it is on (RFC 4007). */
const LINK_LOCAL = /^fe[89ab][0-9a-f]:/i;

/** `HOST:PORT`, `192.0.2.1:5683` or `[2001:db8::1]:5683`; `undefined` if it is none of these. */
export function parseEndpoint(text: string): Endpoint | undefined {
  const endpoint = parseHostAndPort(text);
  return endpoint !== undefined && LINK_LOCAL.test(endpoint.host) && !endpoint.host.includes('%') ? undefined : endpoint;
}

function parseHostAndPort(text: string): Endpoint | undefined {
  const match = /^(?:\[(?<v6>[\w:.]+)(?:%(?<zone>[^\s/:\p{Cc}]+))?\]|(?<name>[\p{L}\p{M}\p{N}._-]+)):(?<port>\d{1,5})$/u.exec(
    text,
  );
  const { v6, zone, name, port } = match?.groups ?? {};
  if (Number(port) > MAX_PORT) return undefined;
  if (v6 !== undefined) {
    if (isIP(v6) !== 6 || !isZone(zone)) return undefined;
    return { host: zone === undefined ? v6 : `${v6}%${zone}`, port: Number(port) };
  }
  // Digits and dots are an IPv4 address, or a mistake.
  if (name === undefined || (/^[\d.]+$/.test(name) && isIP(name) !== 4)) return undefined;
  return { host: name, port: Number(port) };
}

/**
 * Returns true if Linux permits this interface name: any characters except blanks, slashes and
 * colons.
 */
function isZone(zone: string | undefined): boolean {
  return zone === undefined || (zone !== '.' && zone !== '..' && Buffer.byteLength(zone) <= MAX_INTERFACE_NAME);
}

export function formatEndpoint({ host, port }: Endpoint): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

/**
 * Parses HOST:PORT of a peer. Returns `undefined` also for port 0, 0.0.0.0 and [::], which are for
 * listening only.
 */
export function parsePeerEndpoint(text: string): Endpoint | undefined {
  return ifPeer(parseEndpoint(text));
}

function ifPeer(endpoint: Endpoint | undefined): Endpoint | undefined {
  return endpoint === undefined || endpoint.port === 0 || UNSPECIFIED.test(endpoint.host) ? undefined : endpoint;
}

/** Every address of a machine, in IPv4, IPv6, and IPv4 within IPv6; whatever zone it has. */
const UNSPECIFIED = /^(?:[0:]*:ffff:)?[0:.]+(?:%.*)?$/i;

/** What was expected of a text that is no HOST:PORT, or none of a peer. */
export function explainPeerSyntax(text: string): string {
  const unspecified = UNSPECIFIED.test(parseEndpoint(text)?.host ?? '');
  return `expected HOST:PORT, e.g. 192.0.2.7:5683 or [2001:db8::7]:5683${unspecified ? '; 0.0.0.0 and [::] are for listening alone' : `${portHint(text)}${zoneHint(text)}`}`;
}

/** What was expected of a text that is no HOST:PORT to listen on. */
export function describeListen(text: string): string {
  return `expected HOST:PORT, e.g. 0.0.0.0:5683 or [::]:5683${portHint(text)}${zoneHint(text)}`;
}

function portHint(text: string): string {
  const [, port = ''] = /:(\d+)$/.exec(text) ?? [];
  return Number(port) > MAX_PORT ? `; a port is ${MAX_PORT} at most, not ${port}` : '';
}

function zoneHint(text: string): string {
  const [, address = ''] = /^\[([^%\]]+)\]/.exec(text) ?? [];
  return LINK_LOCAL.test(address) ? `; an address that begins with fe80 needs its interface: [${address}%eth0]` : '';
}

/** A schema for HOST:PORT where a peer is reached. */
export const peerSchema: z.ZodMiniType<Endpoint, string> = endpointSchema(parsePeerEndpoint, explainPeerSyntax);

/** A schema for HOST:PORT to listen on: port 0 lets the system choose. */
export const listenSchema: z.ZodMiniType<Endpoint, string> = endpointSchema(parseEndpoint, describeListen);

function endpointSchema(
  parse: (text: string) => Endpoint | undefined,
  describe: (text: string) => string,
): z.ZodMiniType<Endpoint, string> {
  return z.pipe(
    z.string(textError(describe(''))),
    z.transform((text, { issues }) => {
      const endpoint = parse(text);
      if (endpoint !== undefined) return endpoint;
      issues.push({ code: 'custom', message: describe(text), input: text });
      return z.NEVER;
    }),
  );
}

/**
 * Returns true if both are the same name or address, however they are spelled, and the same port.
 */
export function isSameEndpoint(a: Endpoint, b: Endpoint): boolean {
  return a.port === b.port && plainHost(a.host) === plainHost(b.host);
}

/** One spelling per host. */
function plainHost(host: string): string {
  const [address = '', ...zone] = unmapIPv4(host.toLowerCase()).split('%');
  return isIP(address) === 6 ? [new URL(`http://[${address}]`).hostname, ...zone].join('%') : address.replace(/\.$/, '');
}

export interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/** One at least. */
export type Addresses = readonly [Address, ...Address[]];

/**
 * Pending look-ups by name. The system's look-up occupies a thread that file access needs too, so
 * concurrent callers share one look-up. No result is cached, because the addresses of a name may
 * change.
 */
const pendingLookups = new Map<string, Promise<Addresses>>();

/** Returns the addresses that a name means now, in the order in which the system would try them. */
export async function addressesOf(endpoint: Endpoint): Promise<Addresses> {
  const literal = literalAddress(endpoint.host);
  if (literal !== undefined) return [literal];
  try {
    let found = pendingLookups.get(endpoint.host);
    if (found === undefined) {
      found = lookUp(endpoint.host).finally(() => pendingLookups.delete(endpoint.host));
      pendingLookups.set(endpoint.host, found);
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

/**
 * Returns the address in the system's own spelling. IPv4 within IPv6 becomes IPv4, because our IPv6
 * sockets accept nothing else.
 */
function literalAddress(host: string): Address | undefined {
  if (isIP(host) === 4) return { address: host, family: 4 };
  if (isIP(host.replace(/%.*$/, '')) !== 6) return undefined;
  if (host.includes('%')) return { address: host, family: 6 };
  const address = unmapIPv4(new SocketAddress({ address: host, family: 'ipv6' }).address);
  return { address, family: isIP(address) === 4 ? 4 : 6 };
}

/**
 * The Failure where the zone of an address is no interface of this machine; `undefined` for any
 * other error.
 */
export function interfaceFailure(doing: string, { host }: Endpoint, error: unknown): Failure | undefined {
  const at = host.indexOf('%');
  if (at === -1 || systemCode(error) !== 'EINVAL') return undefined;
  return new Failure(`${doing}: this machine has no interface ${host.slice(at + 1)}`, {
    advice: 'Compare the name after the % with what `ip link` shows.',
    cause: error,
  });
}

/**
 * One spelling per address: IPv4 in its own, without the mapping a dual-stack socket puts around
 * it.
 */
export function unmapIPv4(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}
