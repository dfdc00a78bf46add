/**
 * The file that makes a process controller c: `auth-server controller add` writes it, the
 * controller reads it.
 */

import { formatId, parseId, Secret } from '@latchkey/protocol';
import { z } from 'zod';
import { loadPrivateJson, parseOrFail } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type Endpoint, formatEndpoint, peerSchema } from '@latchkey/runtime/net';
import { createFile } from '@latchkey/runtime/files';

export interface Credential {
  readonly idC: number;
  readonly skCs: Secret;
  /** Auth-servers, in the order they are to be tried. */
  readonly servers: readonly Endpoint[];
}

const schema = z.strictObject({
  id: z.string().refine((text) => parseId(text) !== undefined, 'expected 8 hex digits'),
  sk_cs: z.string().regex(/^[0-9a-fA-F]{32}$/, 'expected 32 hex digits'),
  servers: z.array(peerSchema),
});

/** Reads a credential file of mode 0600. */
export async function readCredential(path: string): Promise<Credential> {
  const advice = 'Expected what `latchkey-auth-server controller add --out FILE` writes.';
  return credentialOf(await loadPrivateJson(schema, path, advice));
}

/** Reads a credential that was encrypted. */
export function parseCredential(text: string, name: string): Credential {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    // The parser's own message would quote it.
    throw new UsageFailure(`${name}: not JSON`);
  }
  return credentialOf(parseOrFail(schema, json, name));
}

function credentialOf({ id, sk_cs, servers }: z.output<typeof schema>): Credential {
  return { idC: Number.parseInt(id, 16), skCs: Secret.fromHex(sk_cs), servers };
}

/** A credential as JSON, to be written to a 0600 file or encrypted. */
export function formatCredential({ idC, skCs, servers }: Credential): string {
  return `${JSON.stringify({ id: formatId(idC), sk_cs: skCs.toHex(), servers: servers.map(formatEndpoint) }, null, 2)}\n`;
}

/** Writes a new credential file of mode 0600; fails if there is one already. */
export async function writeCredential(path: string, credential: Credential): Promise<void> {
  await createFile(path, formatCredential(credential));
}
