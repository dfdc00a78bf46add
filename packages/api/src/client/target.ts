/** Address of an API, as a person writes it, and the key that identifies its TLS server. */

/** A server over TLS, or a unix socket of this machine. Nothing is sent in clear. */
export type ApiTarget =
  | { readonly kind: 'https'; readonly origin: string; readonly host: string; readonly hostname: string; readonly port: number }
  | { readonly kind: 'unix'; readonly path: string };

export const TARGET_SYNTAX = 'https://HOST, with a port if it is not 443, or unix:/path of a socket on this machine';
export const PIN_SYNTAX = 'sha256: and the hash of the public key in the server’s certificate, in base64 or as 64 hex digits';

const UNIX_PREFIX = 'unix:';
const PIN_PREFIX = 'sha256:';
const PIN_LENGTH = 32;
const DEFAULT_PORT = 443;

/** Returns `undefined` for text of any other form, a URL with a path or a user included. */
export function parseTarget(text: string): ApiTarget | undefined {
  if (text.startsWith(UNIX_PREFIX)) {
    const path = text.slice(UNIX_PREFIX.length);
    return path.startsWith('/') ? { kind: 'unix', path } : undefined;
  }
  if (!URL.canParse(text)) return undefined;
  const { protocol, username, password, pathname, search, hash, origin, host, hostname, port } = new URL(text);
  if (protocol !== 'https:' || `${username}${password}${search}${hash}` !== '' || pathname !== '/') return undefined;
  // Brackets are part of a URL, and no part of an address.
  const name = hostname.replace(/^\[(.*)\]$/, '$1');
  return { kind: 'https', origin, host, hostname: name, port: port === '' ? DEFAULT_PORT : Number(port) };
}

/** In messages, and for comparison: the same server has one form. */
export function formatTarget(target: ApiTarget): string {
  return target.kind === 'https' ? target.origin : `${UNIX_PREFIX}${target.path}`;
}

/** Returns the SHA-256 of a public key, or `undefined` for text of any other form. */
export function parsePin(text: string): Uint8Array | undefined {
  if (!text.startsWith(PIN_PREFIX)) return undefined;
  const value = text.slice(PIN_PREFIX.length);
  const isHex = /^[0-9a-f]{64}$/i.test(value);
  if (!isHex && !/^[A-Za-z0-9+/]{43}=?$/.test(value)) return undefined;
  const octets = Buffer.from(value, isHex ? 'hex' : 'base64');
  return octets.length === PIN_LENGTH ? octets : undefined;
}
