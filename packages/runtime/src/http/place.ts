/** Where a daemon serves health and metrics: on this machine alone. */

import { isIPv4 } from 'node:net';
import { isAbsolute } from 'node:path';
import { Option } from 'commander';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
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
  if (!isIPv4(host) && !host.includes(':')) return false;
  return ipaddr.parse(host).range() === 'loopback';
}

export function formatHttpPlace(place: HttpPlace): string {
  return place.kind === 'unix' ? `${UNIX}${place.path}` : formatEndpoint(place.endpoint);
}

/** The configuration's `http:`. */
export const httpSchema: z.ZodType<HttpPlace, string> = z.string().transform((text, context) => {
  try {
    return parseHttpPlace(text);
  } catch (error) {
    if (!(error instanceof UsageFailure)) throw error;
    context.addIssue({ code: 'custom', message: [error.message, error.advice].filter((part) => part !== undefined).join('. ') });
    return z.NEVER;
  }
});

/** `--http WHERE`, on `run` and on `health`. */
export function httpOption(description: string): Option {
  return new Option('--http <where>', description).env('LATCHKEY_HTTP').argParser(parseHttpPlace);
}
