/** HOST:PORT as people write it. */

import { isIP } from 'node:net';
import * as z from 'zod/mini';
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
export const peerSchema: z.ZodMiniType<Endpoint, string> = endpointSchema(1);

/** A schema for HOST:PORT to listen on: port 0 lets the system choose. */
export const listenSchema: z.ZodMiniType<Endpoint, string> = endpointSchema(0);

function endpointSchema(lowestPort: number): z.ZodMiniType<Endpoint, string> {
  return z.pipe(
    z.string(),
    z.transform((text, { issues }) => {
      const endpoint = parseEndpoint(text);
      if (endpoint !== undefined && endpoint.port >= lowestPort) return endpoint;
      issues.push({ code: 'custom', message: 'expected HOST:PORT, e.g. 192.0.2.7:5683 or [2001:db8::7]:5683', input: text });
      return z.NEVER;
    }),
  );
}

interface Address {
  readonly address: string;
  readonly family: 4 | 6;
}

/** By name: of those who ask at the same time one looks, since the system's look-up holds a thread that files need, too. */
const lookingUp = new Map<string, Promise<Address>>();

/** The address a name stands for now. */
export async function addressOf(endpoint: Endpoint): Promise<Address> {
  const literal = isIP(endpoint.host.replace(/%.*$/, ''));
  if (literal !== 0) return { address: endpoint.host, family: literal === 6 ? 6 : 4 };
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

async function lookUp(name: string): Promise<Address> {
  const { lookup } = await import('node:dns/promises');
  const { address, family } = await lookup(name);
  return { address, family: family === 6 ? 6 : 4 };
}

/** One spelling per address: IPv4 in its own, without the mapping a dual-stack socket puts around it. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}
