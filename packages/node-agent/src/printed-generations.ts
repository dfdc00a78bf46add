/**
 * The generations of this node's key as `key` prints them: without the schema of the node's file.
 */

import { deriveApplicationRoot, deriveKeyId, type NodeClocks, type Secret } from '@latchkey/protocol';
import { deriveKeys, expiredFailure } from '@latchkey/runtime/derived-keys';
import type { PrintedGeneration } from '@latchkey/runtime/key-output';
import { endOf, expiryOf, type FormerKey, type KeyLease } from './key-lease.js';

interface NodeKeys {
  readonly idI: number;
  /** Not an initial key. */
  readonly confirmed: Secret;
  readonly keyLease: KeyLease | undefined;
  readonly formerKey?: FormerKey | undefined;
}

interface Query {
  readonly label: readonly string[];
  readonly octets: number;
  readonly allowExpired?: boolean | undefined;
}

/**
 * Returns the key of now, then the one before if peers may still use it.
 *
 * @throws Failure if the key has expired, unless the query allows that
 */
export function printedGenerations(node: NodeKeys, now: NodeClocks, query: Query): PrintedGeneration[] {
  const { idI, confirmed, formerKey } = node;
  const expiry = expiryOf(node, now);
  if (expiry !== undefined && now.wallMs > expiry && query.allowExpired !== true) throw expiredFailure(idI, expiry);
  const print = (applicationRoot: Secret, expiresAt: number | undefined, until?: number): PrintedGeneration => {
    const times = { not_after: timeOf(expiresAt), ...(until === undefined ? {} : { until: new Date(until).toISOString() }) };
    return deriveKeys(applicationRoot, idI, { kid: deriveKeyId(applicationRoot, idI), ...times }, query);
  };
  const applicationRoot = deriveApplicationRoot(confirmed, idI);
  const current = print(applicationRoot, expiry);
  applicationRoot.wipe();
  if (formerKey === undefined) return [current];
  const end = endOf(formerKey, now);
  return end > now.wallMs ? [current, print(formerKey.applicationRoot, formerKey.expiresAt, end)] : [current];
}

function timeOf(ms: number | undefined): string | null {
  return ms === undefined ? null : new Date(ms).toISOString();
}
