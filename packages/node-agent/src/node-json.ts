/**
 * Encoding of a node's keys in its file. It loads no schema: `node-file` validates the whole file,
 * `quick-key` the fields that it uses.
 */

import type { Secret } from '@latchkey/protocol';
import type { SavedUptime } from './cumulative-uptime.js';
import type { FormerKey, KeyLease } from './key-lease.js';

/** Its name in the state folder. */
export const NODE_FILE = 'node.json';
/** The device key, until the node is installed. */
export const DEVICE_KEY_FILE = 'device-key';
export const NODE_FILE_VERSION = 1;

export interface MembershipJson {
  readonly joined_at: string;
  readonly at: string;
  readonly powered_at: number;
  readonly boots: number;
  readonly lifetime: number;
  readonly renew_after: { readonly ms: number; readonly boots: number } | null;
}

/** Keys as they are in the file, or as they were read. */
export interface FormerKeyJson<Key extends string | Secret> {
  readonly application_root: Key;
  readonly replaced_at: string;
  readonly powered_at: number;
  readonly boots: number;
  readonly expires_at: string | null;
}

export type PoweredJson = Omit<SavedUptime, 'boot'> & { readonly boot: string | null };

export function keyLeaseFrom(json: MembershipJson): KeyLease {
  const { renew_after: renewAfter } = json;
  return {
    joinedAt: Date.parse(json.joined_at),
    at: Date.parse(json.at),
    poweredAt: json.powered_at,
    boots: json.boots,
    lifetime: json.lifetime,
    renewal: renewAfter === null ? undefined : { afterMs: renewAfter.ms, afterBoots: renewAfter.boots },
  };
}

export function formerKeyFrom(json: FormerKeyJson<Secret>): FormerKey {
  return {
    applicationRoot: json.application_root,
    replacedAt: { wallMs: Date.parse(json.replaced_at), poweredMs: json.powered_at, boots: json.boots },
    expiresAt: json.expires_at === null ? undefined : Date.parse(json.expires_at),
  };
}

export function savedUptimeFrom(json: PoweredJson): SavedUptime {
  return { ...json, boot: json.boot ?? undefined };
}
