/** One change of many nodes: first its preview, then a job. */

import { call, nodesChangeMany, nodesPreviewChange } from '@latchkey/operations';
import {
  type ManyNodesChange,
  manyNodesInputSchema,
  type ManyNodesPreview,
  manyNodesPreviewSchema,
} from '@latchkey/operations/contract';
import { z } from 'zod';
import { type Principal, requireScope, type Scope } from '../access.js';
import { Accepted } from '../answers.js';
import { operationContext } from '../operation-context.js';
import { Problem } from '../problem.js';
import { defineRoute, type Route, type RouteContext } from '../route.js';
import { jobSchema } from './jobs.js';

interface Preview {
  readonly count: number;
  readonly already_so: number;
  readonly examples: readonly string[];
  readonly expect: string;
}

export const previewSchema: z.ZodType<Preview> = z
  .object({
    count: z.int().describe('Nodes that are selected'),
    already_so: z.int().describe('Those that the change does nothing to'),
    examples: z.array(z.string()).describe('The first of them'),
    expect: z.string().describe('Send it to make this change of these nodes'),
  })
  .meta({ id: 'NodeChangesPreview' });

const inputSchema = manyNodesInputSchema
  .extend({
    dry_run: z.literal(true).optional().describe('Answers with a preview, and changes nothing'),
    expect: z.string().max(64).optional().describe('Of the preview: other nodes than those are not changed'),
  })
  .refine(({ dry_run: dryRun, expect }) => (dryRun === undefined) !== (expect === undefined), {
    error: 'expected dry_run, or expect of a preview',
  });

const change = defineRoute({
  method: 'POST',
  name: nodesChangeMany.name,
  summary: 'Disable, enable, move, set or remove many nodes',
  description:
    'With `dry_run` it answers with a preview. With `expect` of that preview it becomes a job, which changes 4,096 nodes at a time. If other nodes are selected by then, it answers 409 with a new preview.',
  scope: nodesChangeMany.scope,
  isLimitable: true,
  path: '/v1/node-changes',
  input: inputSchema,
  output: z.union([jobSchema, previewSchema]),
  isIdempotent: ({ expect }) => expect !== undefined,
  async run(context, { dry_run: _, expect, ...input }) {
    const scopes = scopesOf(input.change);
    for (const scope of scopes) requireScope(context.principal, scope, 'To move nodes gives their keys to a controller.');
    if (expect === undefined) return viewPreview(context, await call(nodesPreviewChange, operationContext(context), input));
    const job = await context.jobs.start(
      { principal: context.principal, kind: nodesChangeMany.name, scopes },
      ({ context: jobContext, begin, afterPart }) =>
        call(
          nodesChangeMany,
          {
            ...jobContext,
            async approve(preview: ManyNodesPreview) {
              const now = viewPreview(context, preview);
              if (now.expect !== expect) throw new Problem('selection-changed', { preview: now });
              await begin(preview.count);
            },
            afterPart,
          },
          input,
        ),
    );
    return new Accepted(`/v1/jobs/${job.id}`, job);
  },
});

/** To move a node gives its key to a controller. */
function scopesOf({ kind }: ManyNodesChange): readonly Scope[] {
  return kind === 'move' ? [nodesChangeMany.scope, 'controllers', 'keys'] : [nodesChangeMany.scope];
}

function viewPreview(
  { opaque, principal }: Pick<RouteContext, 'opaque'> & { readonly principal: Principal },
  preview: ManyNodesPreview,
): Preview {
  const { digest, ...shown } = manyNodesPreviewSchema.parse(preview);
  return { ...shown, examples: [...shown.examples], expect: opaque.tag(principal, Buffer.from(digest)) };
}

export const nodeChangeRoutes: readonly Route[] = [change];
