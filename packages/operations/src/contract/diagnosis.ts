/** Why a node has not joined, or does not renew its key. */

import type { LinkRefusal } from '@latchkey/protocol';
import { z } from 'zod';
import { type Contract, fingerprintSchema, idSchema, orderNumberSchema, printedTimeSchema } from './contract.js';

/** Stable words for scripts. */
export const CAUSES = [
  'joined',
  'joining',
  'unknown',
  'disabled',
  'outside-join-window',
  'held-off',
  'expired',
  'expiring',
  'server-silent',
  'clock-set-back',
  'controller-silent',
  'controller-key',
  'clock',
  'wrong-controller',
  'store',
  'proof-failed',
  'proof-missing',
  'restored',
  'device-has-this-key',
  'device-has-initial-key',
  'device-has-former-key',
  'device-has-other-key',
  'was-refused',
  'never-asked',
  'device-silent',
] as const;
export type Cause = (typeof CAUSES)[number];

/** What to do about a cause. IDs are 8 hex digits, times ISO 8601. */
export type Action =
  | { readonly kind: 'none' }
  /** The node tries again by itself. `until`: not before. */
  | { readonly kind: 'wait'; readonly until: string | null }
  | { readonly kind: 'ask-again'; readonly node: string }
  /**
   * `joined_before`: whether the device holds a key other than its initial one; `null` if the audit
   * log does not say.
   */
  | { readonly kind: 'import-node'; readonly node: string; readonly joined_before: boolean | null }
  | { readonly kind: 'enable-node'; readonly node: string }
  | {
      readonly kind: 'enrol-again';
      readonly node: string;
      readonly installer: string;
      readonly lifetime_seconds: number;
      readonly split?: true | undefined;
    }
  | { readonly kind: 'resume-order'; readonly order: number }
  | { readonly kind: 'open-order'; readonly order: number; readonly join_until: string | null }
  /** `asked_at`: when the device last asked, if that was lately. */
  | { readonly kind: 'extend-grace'; readonly node: string; readonly grace_seconds: number; readonly asked_at: string | null }
  /** On the server and on the device. */
  | { readonly kind: 'move-node'; readonly node: string; readonly controller: string; readonly address: string }
  /** On the device only. */
  | { readonly kind: 'move-device'; readonly node: string; readonly controller: string; readonly address: string }
  /**
   * `new`: a new initial key, and the device is installed again. `same`: the key that the device
   * has. `split`: a device key is one half of the initial key.
   */
  | {
      readonly kind: 'reset-node';
      readonly node: string;
      readonly initial_key: 'new' | 'same';
      readonly split?: true | undefined;
    }
  | { readonly kind: 'reinstall-device'; readonly node: string; readonly split?: true | undefined }
  | { readonly kind: 'check-device'; readonly node: string; readonly controller: string; readonly address: string }
  /** Answers do not reach the device. */
  | { readonly kind: 'check-way-back'; readonly node: string; readonly controller: string; readonly address: string }
  | {
      readonly kind: 'check-controller';
      readonly controller: string;
      readonly address: string;
      readonly servers: readonly string[];
    }
  | { readonly kind: 'rotate-controller'; readonly controller: string }
  | { readonly kind: 'set-clocks'; readonly controller: string }
  | { readonly kind: 'release-clock' }
  | { readonly kind: 'check-disk' }
  /** `combined`: the server is a controller with the registry inside. */
  | { readonly kind: 'start-server'; readonly combined: boolean };

/**
 * How many nodes of a controller, or of the registry, have joined, and how many of those should
 * have renewed by now.
 */
export interface LateNodes {
  readonly of: 'controller' | 'registry';
  readonly joined: number;
  readonly late: number;
}

/** What the key in a device is to the registry. Times are ISO 8601. */
export interface DeviceKey {
  readonly fingerprint: string;
  readonly is: 'current' | 'initial' | 'former' | 'other';
  /** When the registry got that key, and when another took its place. */
  readonly since: string | null;
  readonly until: string | null;
}

/** What the cause was found from. Times are ISO 8601, keys fingerprints of 4 hex digits. */
export interface Facts {
  readonly at: string;
  readonly key: string | null;
  readonly key_is_initial: boolean | null;
  readonly order: number | null;
  readonly order_state: string | null;
  readonly disabled: { readonly since: string; readonly by: string } | null;
  readonly removed: { readonly at: string; readonly by: string } | null;
  readonly joined_at: string | null;
  readonly renewed_at: string | null;
  readonly renewal_due_at: string | null;
  readonly expires_at: string | null;
  readonly grace_ends_at: string | null;
  readonly controller: {
    readonly id: string;
    readonly address: string;
    readonly heard_at: string | null;
    readonly unopened_since: string | null;
    readonly clock_skew_ms: number | null;
  } | null;
  /**
   * Nodes that have joined, and those of them that should have renewed by now; counted only where
   * the sentence says it.
   */
  readonly nodes: LateNodes | null;
  readonly server: { readonly runs: boolean; readonly seen_at: string | null };
  readonly asked: { readonly controller: string; readonly since: string; readonly at: string; readonly count: number } | null;
  readonly refused: {
    readonly refusal: LinkRefusal;
    readonly controller: string;
    readonly since: string;
    readonly at: string;
    readonly count: number;
  } | null;
  readonly restored: { readonly at: string; readonly backup_at: string } | null;
  readonly device_key: DeviceKey | null;
}

export interface Diagnosis {
  readonly id: string;
  readonly cause: Cause;
  readonly sentence: string;
  readonly facts: Facts;
  readonly action: Action;
  /** The alternative action, if the server cannot know which one applies. */
  readonly instead: Action | null;
}

const REFUSALS = [
  'unknownNode',
  'notAssigned',
  'disabled',
  'outsideJoinWindow',
  'expired',
  'clock',
  'proofFailed',
  'overloaded',
  'storeFailed',
] as const satisfies readonly LinkRefusal[];

const time = printedTimeSchema.nullable();
const split = z.literal(true).optional();
const place = { controller: z.string(), address: z.string() };
const kind = <const K extends string>(word: K): z.ZodLiteral<K> => z.literal(word);

export const actionSchema: z.ZodType<Action> = z.discriminatedUnion('kind', [
  z.object({ kind: kind('none') }),
  z.object({ kind: kind('wait'), until: time }),
  z.object({ kind: kind('ask-again'), node: idSchema }),
  z.object({ kind: kind('import-node'), node: idSchema, joined_before: z.boolean().nullable() }),
  z.object({ kind: kind('enable-node'), node: idSchema }),
  z.object({ kind: kind('enrol-again'), node: idSchema, installer: z.string(), lifetime_seconds: z.int(), split }),
  z.object({ kind: kind('resume-order'), order: orderNumberSchema }),
  z.object({ kind: kind('open-order'), order: orderNumberSchema, join_until: time }),
  z.object({ kind: kind('extend-grace'), node: idSchema, grace_seconds: z.int(), asked_at: time }),
  z.object({ kind: kind('move-node'), node: idSchema, ...place }),
  z.object({ kind: kind('move-device'), node: idSchema, ...place }),
  z.object({ kind: kind('reset-node'), node: idSchema, initial_key: z.enum(['new', 'same']), split }),
  z.object({ kind: kind('reinstall-device'), node: idSchema, split }),
  z.object({ kind: kind('check-device'), node: idSchema, ...place }),
  z.object({ kind: kind('check-way-back'), node: idSchema, ...place }),
  z.object({ kind: kind('check-controller'), ...place, servers: z.array(z.string()) }),
  z.object({ kind: kind('rotate-controller'), controller: idSchema }),
  z.object({ kind: kind('set-clocks'), controller: idSchema }),
  z.object({ kind: kind('release-clock') }),
  z.object({ kind: kind('check-disk') }),
  z.object({ kind: kind('start-server'), combined: z.boolean() }),
]);

const run = { since: printedTimeSchema, at: printedTimeSchema, count: z.int() };

const factsSchema: z.ZodType<Facts> = z.object({
  at: printedTimeSchema,
  key: fingerprintSchema.nullable(),
  key_is_initial: z.boolean().nullable(),
  order: orderNumberSchema.nullable(),
  order_state: z.string().nullable(),
  disabled: z.object({ since: printedTimeSchema, by: z.string() }).nullable(),
  removed: z.object({ at: printedTimeSchema, by: z.string() }).nullable(),
  joined_at: time,
  renewed_at: time,
  renewal_due_at: time,
  expires_at: time,
  grace_ends_at: time,
  controller: z
    .object({
      id: idSchema,
      address: z.string(),
      heard_at: time,
      unopened_since: time,
      clock_skew_ms: z.number().nullable(),
    })
    .nullable(),
  nodes: z.object({ of: z.enum(['controller', 'registry']), joined: z.int(), late: z.int() }).nullable(),
  server: z.object({ runs: z.boolean(), seen_at: time }),
  asked: z.object({ ...run, controller: idSchema }).nullable(),
  refused: z.object({ ...run, refusal: z.enum(REFUSALS), controller: idSchema }).nullable(),
  restored: z.object({ at: printedTimeSchema, backup_at: printedTimeSchema }).nullable(),
  device_key: z
    .object({
      fingerprint: fingerprintSchema,
      is: z.enum(['current', 'initial', 'former', 'other']),
      since: time,
      until: time,
    })
    .nullable(),
});

export const diagnosisSchema: z.ZodType<Diagnosis> = z.object({
  id: idSchema,
  cause: z.enum(CAUSES),
  sentence: z.string(),
  facts: factsSchema,
  action: actionSchema,
  instead: actionSchema.nullable(),
});

export interface DiagnosisInput {
  readonly id: string;
  /** Fingerprint of the key in the device. */
  readonly holds?: string | undefined;
}

export const nodesDiagnose: Contract<DiagnosisInput, Diagnosis> = {
  name: 'nodes.diagnose',
  scope: 'read',
  isLimitable: true,
  input: z.strictObject({ id: idSchema, holds: fingerprintSchema.optional() }),
  output: diagnosisSchema,
};
