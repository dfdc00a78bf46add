/** Address of health and metrics of a daemon: on this machine only. */

import { BlockList, isIP } from 'node:net';
import { isAbsolute } from 'node:path';
import { InvalidArgumentError, Option } from 'commander';
import * as z from 'zod/mini';
import { textError } from '../config/zod-error-map.js';
import { type Endpoint, formatEndpoint, parseEndpoint } from './endpoint.js';
import { UsageFailure } from '../failure.js';

export type ListenAddress =
  | { readonly kind: 'tcp'; readonly endpoint: Endpoint }
  | { readonly kind: 'unix'; readonly path: string };

const UNIX_SCHEME = 'unix:';
/** sun_path of unix(7), less the octet that ends it. */
export const MAX_SOCKET_PATH = 107;

/** Whether a unix socket may have that path: it is absolute, and the kernel takes it whole. */
export function isSocketPath(path: string): boolean {
  return isAbsolute(path) && Buffer.byteLength(path) <= MAX_SOCKET_PATH && !path.includes('\0');
}

const EXPECTED = 'expected HOST:PORT of this machine, e.g. 127.0.0.1:9464, or unix:/path';

/**
 * `127.0.0.1:9464`, `[::1]:9464`, `localhost:9464` or `unix:/run/x.sock`.
 *
 * @throws UsageFailure for anything else, also for addresses that others could reach
 */
function parseListenAddress(text: string): ListenAddress {
  if (text.startsWith(UNIX_SCHEME)) {
    const path = text.slice(UNIX_SCHEME.length);
    if (!isAbsolute(path)) throw new UsageFailure(`${EXPECTED}: the path of a socket starts with /`);
    if (!isSocketPath(path))
      throw new UsageFailure(`the path of a unix socket has ${MAX_SOCKET_PATH} octets at most, and none of them is NUL`);
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

export function formatListenAddress(address: ListenAddress): string {
  return address.kind === 'unix' ? `${UNIX_SCHEME}${address.path}` : formatEndpoint(address.endpoint);
}

/** The configuration's `http:`. */
export const httpSchema: z.ZodMiniType<ListenAddress, string> = z.pipe(
  z.string(textError(EXPECTED)),
  z.transform((text, { issues }) => {
    try {
      return parseListenAddress(text);
    } catch (error) {
      issues.push({ code: 'custom', message: errorText(error), input: text });
      return z.NEVER;
    }
  }),
);

/** `--http WHERE`, on `run` and on `health`. */
export function httpOption(description: string): Option {
  return new Option('--http <where>', description).env('LATCHKEY_HTTP').argParser((text) => {
    try {
      return parseListenAddress(text);
    } catch (error) {
      // With it commander says which: the option, or the variable of the environment.
      throw new InvalidArgumentError(errorText(error));
    }
  });
}

function errorText(error: unknown): string {
  if (!(error instanceof UsageFailure)) throw error;
  return [error.message, error.advice].filter((part) => part !== undefined).join('. ');
}
