/** Diagnoses why a node has not joined, or does not renew its key, like `node why`. */

import { parseId } from '@latchkey/protocol';
import { call, diagnoseNode, nodesDiagnoseGroups, surroundingsOf } from '@latchkey/operations';
import { CAUSES, type NodeFilter } from '@latchkey/operations/contract';
import { z } from 'zod';
import { type Route, defineRoute } from '../route.js';
import { idSchema, orderNumberSchema, timeSchema } from '../schemas.js';
import { jobSchema, startWalk } from './jobs.js';

const ACTIONS = [
  'none',
  'wait',
  'ask-again',
  'import-node',
  'enable-node',
  'enrol-again',
  'resume-order',
  'open-order',
  'extend-grace',
  'move-node',
  'move-device',
  'reset-node',
  'reinstall-device',
  'check-device',
  'check-way-back',
  'check-controller',
  'rotate-controller',
  'set-clocks',
  'release-clock',
  'check-disk',
  'start-server',
] as const;

const actionSchema = z
  .object({
    kind: z.enum(ACTIONS),
    node: idSchema.optional(),
    controller: idSchema.optional(),
    order: orderNumberSchema.optional(),
    address: z.string().optional(),
    servers: z.array(z.string()).readonly().optional(),
    installer: z.string().optional(),
    lifetime_seconds: z.int().optional(),
    grace_seconds: z.int().optional(),
    initial_key: z.enum(['new', 'same']).optional(),
    split: z.literal(true).optional(),
    joined_before: z.boolean().nullable().optional(),
    until: timeSchema.nullable().optional(),
    join_until: timeSchema.nullable().optional(),
    asked_at: timeSchema.nullable().optional(),
    combined: z.boolean().optional(),
  })
  .meta({ id: 'Action' });

const run = { controller: idSchema, since: timeSchema, at: timeSchema, count: z.int() };

const factsSchema = z.object({
  at: timeSchema,
  key: z.string().nullable(),
  key_is_initial: z.boolean().nullable(),
  order: orderNumberSchema.nullable(),
  order_state: z.string().nullable(),
  disabled: z.object({ since: timeSchema, by: z.string() }).nullable(),
  removed: z.object({ at: timeSchema, by: z.string() }).nullable(),
  joined_at: timeSchema.nullable(),
  renewed_at: timeSchema.nullable(),
  renewal_due_at: timeSchema.nullable(),
  expires_at: timeSchema.nullable(),
  grace_ends_at: timeSchema.nullable(),
  controller: z
    .object({
      id: idSchema,
      address: z.string(),
      heard_at: timeSchema.nullable(),
      unopened_since: timeSchema.nullable(),
      clock_skew_ms: z.number().nullable(),
    })
    .nullable(),
  nodes: z.object({ of: z.enum(['controller', 'registry']), joined: z.int(), late: z.int() }).nullable(),
  server: z.object({ runs: z.boolean(), seen_at: timeSchema.nullable() }),
  asked: z.object(run).nullable(),
  refused: z.object({ ...run, refusal: z.string() }).nullable(),
  restored: z.object({ at: timeSchema, backup_at: timeSchema }).nullable(),
  device_key: z
    .object({
      fingerprint: z.string(),
      is: z.enum(['current', 'initial', 'former', 'other']),
      since: timeSchema.nullable(),
      until: timeSchema.nullable(),
    })
    .nullable(),
});

const show = defineRoute({
  name: 'diagnoses.show',
  summary: 'Say why a node has not joined, and what to do next',
  description: 'Answers for every ID: a node that is not in the registry has the cause `unknown`.',
  scope: 'read',
  isLimitable: true,
  path: '/v1/diagnoses/:id',
  input: z.strictObject({
    id: idSchema,
    holds: z
      .string()
      .regex(/^[0-9a-f]{4}$/, { error: 'expected a fingerprint of 4 hex digits in lower case, e.g. 1b21' })
      .optional()
      .describe('Fingerprint of the key in the device, as `latchkey-node-agent status` shows it'),
  }),
  output: z
    .object({
      id: idSchema,
      cause: z.enum(CAUSES),
      sentence: z.string().describe('The cause in words'),
      facts: factsSchema,
      action: actionSchema,
      instead: actionSchema.nullable().describe('Another action, where the server cannot tell which is right'),
    })
    .meta({ id: 'Diagnosis' }),
  async run({ registry, principal, visibleOrders, walks, readServerState, signal }, { id, holds: deviceKey }) {
    const reading = registry.until(signal);
    const more = { deviceKey, visibleOrders };
    const surroundings = await surroundingsOf(reading, await readServerState(), reading.clock(), more);
    // To count all nodes waits for its turn; most diagnoses need no count.
    let count: ReturnType<typeof surroundings.punctuality> | undefined;
    const punctuality = (): typeof count & object => (count ??= walks.run(surroundings.punctuality, signal, principal.id));
    return diagnoseNode(reading, parseId(id) ?? 0, { ...surroundings, punctuality });
  },
});

const groups = defineRoute({
  method: 'POST',
  name: nodesDiagnoseGroups.name,
  summary: 'Say why many nodes have not joined, by cause',
  description: 'A job: each node that passes the filter is diagnosed. Its result has `at`, `nodes` and `groups`.',
  scope: nodesDiagnoseGroups.scope,
  isLimitable: nodesDiagnoseGroups.isLimitable,
  path: '/v1/diagnoses',
  input: nodesDiagnoseGroups.input as z.ZodObject<{ filter: z.ZodType<NodeFilter> }>,
  output: jobSchema,
  beginsJob: true,
  run: (context, input) =>
    startWalk(context, nodesDiagnoseGroups.name, [nodesDiagnoseGroups.scope], (jobContext) =>
      call(nodesDiagnoseGroups, jobContext, input),
    ),
});

export const diagnosisRoutes: readonly Route[] = [show, groups];
