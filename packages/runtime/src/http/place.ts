/** Where a daemon serves health and metrics: on this machine alone. */

import { BlockList, isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import * as z from 'zod/mini';
import { type Endpoint, formatEndpoint, parseEndpoint } from '../endpoint.js';
import { UsageFailure } from '../failure.js';

export type HttpPlace = { readonly kind: 'tcp'; readonly endpoint: Endpoint } | { readonly kind: 'unix'; readonly path: string };

const UNIX = 'unix:';
/** sun_path of unix(7), less the octet that ends it. */
const MAX_SOCKET_PATH = 107;
const EXPECTED = 'expected HOST:PORT of this machine, e.g. 127.0.0.1:9464, or unix:/path';

/**
 * `127.0.0.1:9464`, `[::1]:9464`, `localhost:9464` or `unix:/run/x.sock`.
 *
 * @throws UsageFailure for anything else, also for addresses that others could reach
 */
function parseHttpPlace(text: string): HttpPlace {
  if (text.startsWith(UNIX)) {
    const path = text.slice(UNIX.length);
    if (!isAbsolute(path)) throw new UsageFailure(`${EXPECTED}: the path of a socket starts with /`);
    if (Buffer.byteLength(path) > MAX_SOCKET_PATH)
      throw new UsageFailure(`the path of a unix socket has ${MAX_SOCKET_PATH} octets at most`);
    return { kind: 'unix', path };
  }
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) throw new UsageFailure(EXPECTED);
  const host = endpoint.host === 'localhost' ? '127.0.0.1' : endpoint.host;
  if (isLoopback(host)) return { kind: 'tcp', endpoint: { ...endpoint, host } };
  throw new UsageFailure(`health and metrics are not served on ${text}, where others could reach them`, {
    advice:
      'They are plain HTTP without a password, for this machine alone: 127.0.0.1:PORT, [::1]:PORT or unix:/path. To let others in, put a proxy with TLS before it.',
  });
}

function isLoopback(host: string): boolean {
  const address = host.replace(/%.*$/, '');
  const family = isIP(address);
  if (family === 0) return false;
  const loopback = new BlockList();
  // One list for each family: an IPv4 address mapped into IPv6 would be found in the other's.
  if (family === 4) loopback.addSubnet('127.0.0.0', 8);
  else loopback.addAddress('::1', 'ipv6');
  return loopback.check(address, family === 4 ? 'ipv4' : 'ipv6');
}

export function formatHttpPlace(place: HttpPlace): string {
  return place.kind === 'unix' ? `${UNIX}${place.path}` : formatEndpoint(place.endpoint);
}

/** The configuration's `http:`. */
export const httpSchema: z.ZodMiniType<HttpPlace, string> = z.pipe(
  z.string(),
  z.transform((text, { issues }) => {
    try {
      return parseHttpPlace(text);
    } catch (error) {
      issues.push({ code: 'custom', message: whatIsWrong(error), input: text });
      return z.NEVER;
    }
  }),
);

/** `--http WHERE`, on `run` and on `health`. */
export function httpOption(description: string): Option {
  return new Option('--http <where>', description).env('LATCHKEY_HTTP').argParser((text) => {
    try {
      return parseHttpPlace(text);
    } catch (error) {
      // With it commander says which: the option, or the variable of the environment.
      throw new InvalidArgumentError(whatIsWrong(error));
    }
  });
}

function whatIsWrong(error: unknown): string {
  if (!(error instanceof UsageFailure)) throw error;
  return [error.message, error.advice].filter((part) => part !== undefined).join('. ');
}
