/** Certificate and key of the gateway, and the authorities of its clients. */

import { X509Certificate } from 'node:crypto';
import { createSecureContext, type SecureContextOptions, type TLSSocket } from 'node:tls';
import type { Log } from '@latchkey/runtime/daemon';
import { UsageFailure } from '@latchkey/runtime/failure';
import { readPlainFile, readPrivateFile } from '@latchkey/runtime/files';
import type { GatewayConfig } from './config.js';

/** OID of `clientAuth` in extendedKeyUsage. */
const CLIENT_AUTH = '1.3.6.1.5.5.7.3.2';
const PEM_CERTIFICATE = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** @throws Failure if a file cannot be read, or certificate and key do not belong together */
export async function readSecureContext(config: GatewayConfig, log: Log): Promise<SecureContextOptions> {
  const { cert, key, client_ca: clientCa } = config;
  const options = {
    cert: await readPlainFile(cert),
    key: await readPrivateFile(key),
    minVersion: 'TLSv1.3',
    ...(clientCa === undefined ? {} : { ca: await readAuthorities(clientCa, log) }),
  } as const;
  try {
    createSecureContext(options);
    warnIfExpired(cert, new X509Certificate(options.cert), log);
  } catch (error) {
    throw new UsageFailure(`${cert} and ${key} are not a certificate and its key in PEM`, {
      cause: error,
      advice: 'Write the certificate with its chain to the one, and the key without a passphrase to the other.',
    });
  }
  return options;
}

/**
 * Reads the certificates of authorities. Without one, Node.js would take every authority that the
 * system knows.
 */
async function readAuthorities(path: string, log: Log): Promise<string[]> {
  const texts = (await readPlainFile(path)).match(PEM_CERTIFICATE) ?? [];
  const authorities = texts.map(parseCertificate);
  if (authorities.length === 0 || !authorities.every((one) => one?.ca === true))
    throw new UsageFailure(`${path}: expected certificates of authorities in PEM`, {
      advice: 'Write the certificate of the authority that issues client certificates there, not one that it has issued.',
    });
  for (const authority of authorities) if (authority !== undefined) warnIfExpired(path, authority, log);
  return texts;
}

function parseCertificate(text: string): X509Certificate | undefined {
  try {
    return new X509Certificate(text);
  } catch {
    return undefined;
  }
}

function warnIfExpired(path: string, { validTo }: X509Certificate, log: Log): void {
  if (Date.parse(validTo) < Date.now())
    log.warn({ cert: path, validTo }, 'the certificate has expired: clients will not connect');
}

/**
 * Returns true if the certificate of a client says that it is for clients. OpenSSL also takes one
 * that does not say what it is for.
 */
export function isClientCertificate(socket: TLSSocket): boolean {
  const usages: readonly string[] | undefined = socket.getPeerX509Certificate()?.keyUsage;
  return usages?.includes(CLIENT_AUTH) === true;
}

/**
 * Returns why a handshake refused the certificate of a client, or `undefined` if it failed for
 * another reason.
 */
export function certificateRefusal(error: Error & { readonly code?: string }, socket: TLSSocket): string | undefined {
  // Its type is Error, and its value the code of the reason.
  const reason: unknown = socket.authorizationError;
  if (typeof reason === 'string') return reason;
  return error.code === 'ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE' ? 'no certificate' : undefined;
}
