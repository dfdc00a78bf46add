/**
 * What hands out keys: new orders, manifests, resets and credentials. Keys leave as age files only,
 * encrypted to the recipients of the request.
 */

import {
  call,
  controllersAdd,
  controllersRotate,
  describeRecipients,
  type KeyOutput,
  nodesReset,
  ordersCreate,
  ordersExport,
  ordersShow,
} from '@latchkey/operations';
import {
  controllerSharesSchema,
  CONTROLLERS_EXPECTED,
  controllerTextFields,
  durationSchema,
  endpointSchema,
  fingerprintSchema,
  namesControllers,
  nameSchema,
  TEXT_LIMITS,
  textSchema,
} from '@latchkey/operations/contract';
import { parseId } from '@latchkey/protocol';
import { z } from 'zod';
import { requireFreshSignIn } from '../access.js';
import { operationContext } from '../operation-context.js';
import { Problem } from '../problem.js';
import { defineRoute, type Route, type RouteContext } from '../route.js';
import { idSchema, orderNumberSchema, timeSchema } from '../schemas.js';
import { jobInputSchema, jobSchema } from './jobs.js';
import { idsOf, type KeyJob, recipientsSchema, startKeyJob } from './key-job.js';

/** Nodes whose keys one request hands out. */
const MAX_NODES = 100_000;
const MAX_IDS = 4_096;

/** A manifest is in memory: one of a million nodes has 75 MB. */
async function requireFewNodes(context: RouteContext, order: number, advice: string): Promise<void> {
  const { nodes, joined } = await call(ordersShow, operationContext(context), { order });
  refuseManyNodes(nodes - joined, order, advice);
}

/** Called again with the nodes that were found: until then some may have been reset. */
export function refuseManyNodes(nodes: number, order: number, advice: string): void {
  if (nodes <= MAX_NODES) return;
  throw new Problem('refused', {
    detail: `${nodes} nodes of order ${order} have not joined, and a file has ${MAX_NODES} at most.`,
    advice,
  });
}

/**
 * The command is part of the advice text: in `run` it would get the options that name this API. The
 * recipient of the request may be one that a command generated for that request only.
 */
export function exportOnTheMachine(order: number): string {
  return `Hand them over on the machine of the registry, with --recipient if the manifest is to be encrypted: latchkey-auth-server order export ${order} --out ./order-${order}`;
}

export function resetOnTheMachine(order: number, unsplit: boolean): string {
  return `Reset them on the machine of the registry: latchkey-auth-server node reset --order ${order} --out ./reset-${order}${unsplit ? ' --unsplit' : ''}`;
}

const createOrder = defineRoute({
  method: 'POST',
  name: ordersCreate.name,
  summary: 'Order nodes from an installer',
  description: 'Draws their IDs and initial keys. The manifest is the file of the job.',
  scope: ordersCreate.scope,
  path: '/v1/orders',
  input: z
    .strictObject({
      installer: nameSchema,
      contact: textSchema(TEXT_LIMITS.contact).optional().describe('Of the installer'),
      site: textSchema(TEXT_LIMITS.site).optional().describe('Where its nodes are, unless they say otherwise'),
      controller: idSchema.optional().describe('Of all nodes; with `count`'),
      count: z.int().min(1).max(MAX_NODES).optional(),
      controllers: controllerSharesSchema
        .optional()
        .describe('How many nodes join through which controller, if through several: `[{"controller": ID, "count": N}]`'),
      shared_key: z.boolean().default(false).describe('One initial key for all nodes of the order'),
      lifetime_seconds: durationSchema,
      grace_seconds: durationSchema,
      join_from: timeSchema.optional(),
      join_until: timeSchema.optional(),
      recipients: recipientsSchema,
    })
    .refine(namesControllers, { error: CONTROLLERS_EXPECTED })
    .refine(({ controller, count }) => (controller === undefined) === (count === undefined), {
      error: 'expected count with controller',
    })
    .refine(({ controllers = [] }) => controllers.reduce((sum, { count }) => sum + count, 0) <= MAX_NODES, {
      path: ['controllers'],
      error: `expected ${MAX_NODES} nodes at most`,
    }),
  output: jobSchema,
  isIdempotent: () => true,
  run: (context, { recipients, ...input }) =>
    startKeyJob(
      context,
      { kind: ordersCreate.name, recipients, file: { name: 'manifest.csv.age' } },
      ({ context: jobContext, openOutput }) => call(ordersCreate, { ...jobContext, openOutput }, input),
    ),
});

const exportOrder = defineRoute({
  method: 'POST',
  name: ordersExport.name,
  summary: 'Hand over again the initial keys of the nodes of an order that have not joined',
  scope: ordersExport.scope,
  isLimitable: true,
  path: '/v1/orders/:order/manifests',
  input: z.strictObject({ order: orderNumberSchema, recipients: recipientsSchema }),
  output: jobSchema,
  isIdempotent: () => true,
  async run(context, { recipients, order }) {
    const advice = exportOnTheMachine(order);
    await requireFewNodes(context, order, advice);
    return startKeyJob(
      context,
      { kind: ordersExport.name, recipients, file: { name: `order-${order}.csv.age`, order } },
      ({ context: jobContext, openOutput }) => {
        const openSmall = async (nodes = 0): Promise<KeyOutput> => {
          refuseManyNodes(nodes, order, advice);
          return openOutput();
        };
        return call(ordersExport, { ...jobContext, openOutput: openSmall }, { order });
      },
    );
  },
});

const resetNodes = defineRoute({
  method: 'POST',
  name: nodesReset.name,
  summary: 'Give nodes another initial key each',
  description:
    'Nodes by ID, or those of an order that still hold their initial key. They are installed again with the new one. With `holding` only those that hold this one: each gets another, so that an initial key that several nodes share lets nobody in any more.',
  scope: nodesReset.scope,
  isLimitable: true,
  path: '/v1/resets',
  input: z
    .strictObject({
      ids: z.array(idSchema).min(1).max(MAX_IDS).optional(),
      order: orderNumberSchema.optional(),
      holding: fingerprintSchema.optional().describe('With `order`: fingerprint of the initial key, as the exposure has it'),
      unsplit: z.boolean().default(false).describe('Nodes whose initial key is split get a whole one'),
      recipients: recipientsSchema,
    })
    .refine(({ ids, order }) => (ids === undefined) !== (order === undefined), { error: 'expected ids or order' })
    .refine(({ order, holding }) => order !== undefined || holding === undefined, {
      path: ['holding'],
      error: 'expected with order only',
    }),
  output: jobSchema,
  isIdempotent: () => true,
  async run(context, { recipients, ...input }) {
    const { order, unsplit } = input;
    const advice = order === undefined ? '' : resetOnTheMachine(order, unsplit);
    if (order !== undefined) await requireFewNodes(context, order, advice);
    return startKeyJob(
      context,
      { kind: nodesReset.name, recipients, file: { name: 'reset.csv.age', order } },
      ({ context: jobContext, openOutput, afterPart }) => {
        const openSmall = async (nodes: number): Promise<KeyOutput> => {
          if (order !== undefined) refuseManyNodes(nodes, order, advice);
          return openOutput(nodes);
        };
        return call(nodesReset, { ...jobContext, openOutput: openSmall, afterPart }, input);
      },
    );
  },
});

const addController = defineRoute({
  method: 'POST',
  name: controllersAdd.name,
  summary: 'Add a controller',
  description: 'Draws its SK_cs. The credential is the file of the job.',
  scope: controllersAdd.scope,
  path: '/v1/controllers',
  input: z.strictObject({
    id: idSchema,
    nid: endpointSchema,
    servers: z.array(endpointSchema).max(16).default([]),
    pass_through: z.boolean().default(false),
    ...controllerTextFields,
    recipients: recipientsSchema,
  }),
  output: jobSchema,
  isIdempotent: () => true,
  run: (context, { recipients, ...input }) =>
    startKeyJob(context, credentialJob(controllersAdd.name, input.id, recipients), ({ context: jobContext, handOver }) =>
      call(controllersAdd, { ...jobContext, handOver }, input),
    ),
});

const rotateController = defineRoute({
  method: 'POST',
  name: controllersRotate.name,
  summary: 'Give a controller another SK_cs',
  description: 'The one before counts until the controller uses the new one. The credential is the file of the job.',
  scope: controllersRotate.scope,
  path: '/v1/controllers/:id/rotations',
  input: z.strictObject({ id: idSchema, recipients: recipientsSchema }),
  output: jobSchema,
  isIdempotent: () => true,
  run: (context, { recipients, id }) =>
    startKeyJob(context, credentialJob(controllersRotate.name, id, recipients), ({ context: jobContext, handOver }) =>
      call(controllersRotate, { ...jobContext, handOver }, { id }),
    ),
});

function credentialJob(kind: string, id: string, recipients: readonly string[]): KeyJob {
  return { kind, recipients, file: { name: `controller-${id}.json.age`, controller: parseId(id) } };
}

/** A new order has its number once its job is done. */
const createdOrderSchema = z.object({ order: orderNumberSchema });

const fetchFile = defineRoute({
  method: 'POST',
  name: 'jobs.fetch-file',
  summary: 'Fetch the file with the keys that a job of the caller drew',
  description:
    'In the age format. The audit log says to whom it is encrypted before the first octet leaves. The file is kept for an hour, and until its owner has deleted it.',
  scope: 'keys',
  isLimitable: true,
  path: '/v1/jobs/:job/file',
  input: jobInputSchema,
  mediaType: 'application/octet-stream',
  output: z.string().describe('An age file'),
  async run({ jobs, keyFiles, principal, registry }, { job }) {
    requireFreshSignIn(principal);
    const { name, octets, recipients, controller, ...file } = keyFiles.get(principal, job);
    const order = file.order ?? createdOrderSchema.safeParse(jobs.show(principal, job).result).data?.order;
    await registry.record({
      what: 'keys fetched',
      note: `${name}, encrypted to ${describeRecipients(recipients)}`,
      ...idsOf(order, controller),
    });
    return {
      headers: {
        'content-type': 'application/octet-stream',
        'content-length': String(octets.length),
        'content-disposition': `attachment; filename="${name}"`,
      },
      start: (response) => void response.end(octets),
    };
  },
});

const removeFile = defineRoute({
  method: 'DELETE',
  name: 'jobs.remove-file',
  summary: 'Acknowledge the file of a job: it is removed',
  scope: 'keys',
  isLimitable: true,
  path: '/v1/jobs/:job/file',
  input: jobInputSchema,
  output: z.object({}),
  run({ keyFiles, principal }, { job }) {
    keyFiles.remove(principal, job);
    return {};
  },
});

export const keyFileRoutes: readonly Route[] = [
  createOrder,
  exportOrder,
  resetNodes,
  addController,
  rotateController,
  fetchFile,
  removeFile,
];
