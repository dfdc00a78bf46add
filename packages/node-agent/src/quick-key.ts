/** `key` from a node's file that is as it should be: without the program. */

import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { type KeyArguments, parseKeyArguments, printDirectly } from '@latchkey/runtime/key-arguments';
import { formatKeys, selectGenerations } from '@latchkey/runtime/key-output';
import { CumulativeUptime } from './cumulative-uptime.js';
import type { FormerKey } from './key-lease.js';
import {
  type FormerKeyJson,
  formerKeyFrom,
  keyLeaseFrom,
  type MembershipJson,
  NODE_FILE,
  NODE_FILE_VERSION,
  type PoweredJson,
  savedUptimeFrom,
} from './node-json.js';
import { printedGenerations } from './printed-generations.js';

/** A node has less. */
const MAX_OCTETS = 65_536;
const GROUP_AND_OTHERS = 0o077;
const ID = /^[0-9a-f]{8}$/;

/** The fields of the file that are used. A file of any other form is left to the full program. */
interface NodeJson {
  readonly version: number;
  readonly id: string;
  readonly confirmed: { readonly key: string; readonly initial: unknown };
  readonly membership: MembershipJson;
  readonly former?: FormerKeyJson<string>;
  readonly powered: PoweredJson;
}

/** Returns false if the program has to do it: nothing was printed then. */
export function printFromFile(words: readonly string[]): boolean {
  const query = parseKeyArguments(words);
  if (query === undefined || query.positionals.length > 0) return false;
  const text = keysFromFile(query);
  if (text === undefined) return false;
  printDirectly(text);
  return true;
}

/**
 * Returns `undefined` if no key can be used, or the file has a fault, which the full program then
 * reports.
 */
function keysFromFile(query: KeyArguments): string | undefined {
  try {
    const json = JSON.parse(readPrivateText(join(query.state, NODE_FILE))) as NodeJson;
    const { id, confirmed, membership, former, powered } = json;
    if (json.version !== NODE_FILE_VERSION || !ID.test(id) || confirmed.initial !== false) return undefined;
    const keyLease = keyLeaseFrom(membership);
    const now = new CumulativeUptime(savedUptimeFrom(powered)).clocks();
    const numbers = [keyLease.at, keyLease.poweredAt, keyLease.lifetime, powered.ms, powered.uptime_ms, powered.boots];
    if (!numbers.every(Number.isFinite)) return undefined;
    const formerKey = former && formerKeyFrom({ ...former, application_root: Secret.fromHex(former.application_root) });
    if (formerKey !== undefined && !isDated(formerKey)) return undefined;
    const node = { idI: Number.parseInt(id, 16), confirmed: Secret.fromHex(confirmed.key), keyLease, formerKey };
    const generations = selectGenerations(printedGenerations(node, now, query), query);
    node.confirmed.wipe();
    node.formerKey?.applicationRoot.wipe();
    return generations.length === 0 ? undefined : formatKeys(id, generations, query);
  } catch {
    return undefined;
  }
}

function isDated({ replacedAt, expiresAt }: FormerKey): boolean {
  return [replacedAt.wallMs, replacedAt.poweredMs, replacedAt.boots, expiresAt ?? 0].every(Number.isFinite);
}

/** @throws Error if others can read it, too */
function readPrivateText(path: string): string {
  const file = openSync(path, 'r');
  try {
    const info = fstatSync(file);
    if (!info.isFile() || info.size > MAX_OCTETS || (info.mode & GROUP_AND_OTHERS) !== 0) throw new Error('not a private file');
    return readFileSync(file, 'utf8');
  } finally {
    closeSync(file);
  }
}
