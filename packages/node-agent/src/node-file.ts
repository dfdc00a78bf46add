/** All that a node holds durably, in one file written aside, synced and renamed, mode 0600. */

import { join } from 'node:path';
import { formatId, MAX_CANDIDATES, type NodeState, parseId, Secret } from '@latchkey/protocol';
import { exists, replaceFile } from '@latchkey/runtime/files';
import { type Endpoint, formatEndpoint, peerSchema } from '@latchkey/runtime/net';
import { loadPrivateJson } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import * as z from 'zod/mini';
import type { SavedUptime } from './cumulative-uptime.js';
import type { FormerKey, KeyLease } from './key-lease.js';
import { type FormerKeyJson, formerKeyFrom, keyLeaseFrom, NODE_FILE, NODE_FILE_VERSION, savedUptimeFrom } from './node-json.js';

/** How the latest attempt ended. */
interface LastAttempt {
  readonly at: number;
  readonly outcome: string;
}

export interface StoredNode {
  readonly state: NodeState;
  /** Addresses of its controllers. */
  readonly endpoints: readonly Endpoint[];
  readonly keyLease: KeyLease | undefined;
  /** The key before, while peers may use it. */
  readonly formerKey?: FormerKey | undefined;
  readonly lastAttempt: LastAttempt | undefined;
  readonly powered: SavedUptime | undefined;
  /** Whether `on_key_change` has still to be run for the confirmed key. */
  readonly hookPending: boolean;
  /** `at` of the key for whose expiry `on_key_change` has run. */
  readonly expiryHookFor?: number;
  /** True if its initial key was made of a device key and the installer's half. */
  readonly split?: boolean;
  /** True until `install` has erased the device key. */
  readonly deviceKeyErasureDue?: boolean | undefined;
}

/**
 * The changed fields, or a function that computes them from the record at the time of the write.
 */
export type RecordChange = Partial<StoredNode> | ((record: StoredNode) => Partial<StoredNode>);

const idSchema = z.pipe(
  z.string().check(z.refine((text) => parseId(text) !== undefined, 'expected 8 hex digits')),
  z.transform((text) => Number.parseInt(text, 16)),
);
const keySchema = z.pipe(
  z.string().check(z.regex(/^[0-9a-f]{32}$/, 'expected 32 hex digits')),
  z.transform((hex) => Secret.fromHex(hex)),
);
const msSchema = z.number();
const countSchema = z.int().check(z.nonnegative());

const schema = z.strictObject({
  version: z.literal(NODE_FILE_VERSION, { error: 'was written by another version of Latchkey' }),
  id: idSchema,
  controllers: z.union([z.literal('any'), z.array(idSchema).check(z.minLength(1))]),
  addresses: z.array(peerSchema).check(z.minLength(1)),
  confirmed: z.strictObject({ key: keySchema, initial: z.boolean() }),
  candidates: z
    .array(
      z.strictObject({
        psk: keySchema,
        stored_at: msSchema,
        clocks: z.optional(z.strictObject({ at: z.iso.datetime(), boots: countSchema })),
      }),
    )
    .check(z.maxLength(MAX_CANDIDATES)),
  membership: z.nullable(
    z.strictObject({
      joined_at: z.iso.datetime(),
      at: z.iso.datetime(),
      powered_at: msSchema,
      boots: countSchema,
      lifetime: countSchema,
      renew_after: z.nullable(z.strictObject({ ms: msSchema, boots: z.int().check(z.positive()) })),
    }),
  ),
  former: z.optional(
    z.strictObject({
      application_root: keySchema,
      replaced_at: z.iso.datetime(),
      powered_at: msSchema,
      boots: countSchema,
      expires_at: z.nullable(z.iso.datetime()),
    }),
  ),
  last_attempt: z.nullable(z.strictObject({ at: z.iso.datetime(), outcome: z.string() })),
  powered: z.nullable(z.strictObject({ ms: msSchema, boot: z.nullable(z.string()), uptime_ms: msSchema, boots: countSchema })),
  hook_due: z.boolean(),
  expiry_hook_for: z.optional(msSchema),
  split: z.optional(z.literal(true)),
  erase_device_key: z.optional(z.literal(true)),
});

export class NodeFile {
  readonly #replace: (text: string) => Promise<void>;
  #record: StoredNode;
  /** The write that every later one waits for. It never rejects. */
  #lastWrite: Promise<unknown> = Promise.resolve();

  /** @param replace makes the file's text another, durably */
  constructor(record: StoredNode, replace: (text: string) => Promise<void>) {
    this.#record = record;
    this.#replace = replace;
  }

  /** What the disk holds. */
  get record(): StoredNode {
    return this.#record;
  }

  static isInstalled(folder: string): Promise<boolean> {
    return exists(join(folder, NODE_FILE));
  }

  /** Throws a UsageFailure where no node is installed. */
  static async assertInstalled(folder: string): Promise<void> {
    if (await NodeFile.isInstalled(folder)) return;
    throw new UsageFailure(`${folder} holds no installed node`, {
      advice: 'Check the path: --state, or LATCHKEY_STATE. How a node is installed:',
      run: [['latchkey-node-agent', 'install', '--help']],
    });
  }

  static async open(folder: string): Promise<NodeFile> {
    await NodeFile.assertInstalled(folder);
    const path = join(folder, NODE_FILE);
    const advice =
      'The file was changed by something else. Restore it, or install the node again with --replace; if it has joined, after `node reset`.';
    return new NodeFile(parse(await loadPrivateJson(schema, path, advice)), (text) => replaceFile(path, text));
  }

  /**
   * Durable when it resolves. When it rejects, `record` is as before, and so is the disk, unless
   * all that failed is to sync the folder: then the file has the change, and may lose it with the
   * power. Writes take effect in the order of the calls.
   */
  write(change: RecordChange): Promise<void> {
    const writing = this.#writeAfter(this.#lastWrite, change);
    this.#lastWrite = writing.catch(() => undefined);
    return writing;
  }

  async #writeAfter(earlier: Promise<unknown>, change: RecordChange): Promise<void> {
    await earlier;
    const next = { ...this.#record, ...(typeof change === 'function' ? change(this.#record) : change) };
    await this.#replace(formatNode(next));
    this.#record = next;
  }
}

/** The text of the file. */
export function formatNode(record: StoredNode): string {
  const { state, endpoints, keyLease, formerKey, lastAttempt, powered, hookPending, expiryHookFor } = record;
  const { split, deviceKeyErasureDue } = record;
  const json: z.input<typeof schema> = {
    version: NODE_FILE_VERSION,
    id: formatId(state.idI),
    controllers: state.controllers === 'any' ? 'any' : state.controllers.map(formatId),
    addresses: endpoints.map(formatEndpoint),
    confirmed: { key: state.confirmed.toHex(), initial: state.initial },
    candidates: state.candidates.map(({ psk, storedAt, clocks }) => ({
      psk: psk.toHex(),
      stored_at: storedAt,
      clocks: clocks && { at: new Date(clocks.wallMs).toISOString(), boots: clocks.boots },
    })),
    membership:
      keyLease === undefined
        ? null
        : {
            joined_at: new Date(keyLease.joinedAt).toISOString(),
            at: new Date(keyLease.at).toISOString(),
            powered_at: keyLease.poweredAt,
            boots: keyLease.boots,
            lifetime: keyLease.lifetime,
            renew_after:
              keyLease.renewal === undefined ? null : { ms: keyLease.renewal.afterMs, boots: keyLease.renewal.afterBoots },
          },
    ...(formerKey === undefined ? {} : { former: formatFormerKey(formerKey) }),
    last_attempt: lastAttempt === undefined ? null : { at: new Date(lastAttempt.at).toISOString(), outcome: lastAttempt.outcome },
    powered: powered === undefined ? null : { ...powered, boot: powered.boot ?? null },
    hook_due: hookPending,
    ...(expiryHookFor === undefined ? {} : { expiry_hook_for: expiryHookFor }),
    ...(split === true ? { split } : {}),
    ...(deviceKeyErasureDue === true ? { erase_device_key: true } : {}),
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}

/** Throws if `text` is not that of a node's file. */
export function parseNode(text: string): StoredNode {
  return parse(z.parse(schema, JSON.parse(text)));
}

function parse(json: z.output<typeof schema>): StoredNode {
  const { membership, former, last_attempt: lastAttempt, powered } = json;
  return {
    state: {
      idI: json.id,
      controllers: json.controllers,
      confirmed: json.confirmed.key,
      initial: json.confirmed.initial,
      candidates: json.candidates.map(({ psk, stored_at: storedAt, clocks }) => ({
        psk,
        storedAt,
        ...(clocks === undefined ? {} : { clocks: { wallMs: Date.parse(clocks.at), poweredMs: storedAt, boots: clocks.boots } }),
      })),
    },
    endpoints: json.addresses,
    keyLease: membership === null ? undefined : keyLeaseFrom(membership),
    ...(former === undefined ? {} : { formerKey: formerKeyFrom(former) }),
    lastAttempt: lastAttempt === null ? undefined : { at: Date.parse(lastAttempt.at), outcome: lastAttempt.outcome },
    powered: powered === null ? undefined : savedUptimeFrom(powered),
    hookPending: json.hook_due,
    ...(json.expiry_hook_for === undefined ? {} : { expiryHookFor: json.expiry_hook_for }),
    ...(json.split === true ? { split: true } : {}),
    ...(json.erase_device_key === true ? { deviceKeyErasureDue: true } : {}),
  };
}

function formatFormerKey({ applicationRoot, replacedAt, expiresAt }: FormerKey): FormerKeyJson<string> {
  return {
    application_root: applicationRoot.toHex(),
    replaced_at: new Date(replacedAt.wallMs).toISOString(),
    powered_at: replacedAt.poweredMs,
    boots: replacedAt.boots,
    expires_at: expiresAt === undefined ? null : new Date(expiresAt).toISOString(),
  };
}
