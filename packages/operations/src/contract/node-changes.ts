import { z } from 'zod';
import { type Contract, durationSchema, idSchema } from './contract.js';
import { type DescriptionChange, descriptionChangeSchema } from './descriptions.js';
import { type NodeChange, nodeChangeSchema, type NodeSelection, selectionSchema } from './nodes.js';

/** What becomes of each selected node. */
export type ManyNodesChange =
  | { readonly kind: 'disable' | 'enable' | 'remove' }
  /** `to`: the controller that they join through from now on. */
  | { readonly kind: 'move'; readonly to: string }
  /** Lifetime and grace of the keys that they get from now on. A name is of one node only. */
  | {
      readonly kind: 'set';
      readonly lifetime_seconds?: number | undefined;
      readonly grace_seconds?: number | undefined;
      readonly description?: DescriptionChange | undefined;
    }
  /** It gives no name: a name is of one node. */
  | { readonly kind: 'describe'; readonly description: DescriptionChange };

export interface ManyNodesInput {
  readonly select: NodeSelection;
  readonly change: ManyNodesChange;
}

const inputFields = {
  select: selectionSchema,
  change: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.enum(['disable', 'enable', 'remove']) }),
    z.strictObject({ kind: z.literal('move'), to: idSchema }),
    z
      .strictObject({
        kind: z.literal('set'),
        lifetime_seconds: durationSchema.optional(),
        grace_seconds: durationSchema.optional(),
        description: descriptionChangeSchema.optional(),
      })
      .refine(({ kind: _, ...settings }) => Object.values(settings).some((value) => value !== undefined), {
        error: 'expected lifetime_seconds, grace_seconds or description',
      }),
    z.strictObject({
      kind: z.literal('describe'),
      description: descriptionChangeSchema.refine(({ name }) => typeof name !== 'string', {
        error: 'expected no name: a name is of one node',
      }),
    }),
  ]),
};
/** Fields of the input, for routes that have more. */
export const manyNodesInputSchema: z.ZodObject<{ select: z.ZodType<NodeSelection>; change: z.ZodType<ManyNodesChange> }> =
  z.strictObject(inputFields);

/** What a change is about to do. */
export interface ManyNodesPreview {
  /** Nodes that are selected. */
  readonly count: number;
  /** Those that are so already. */
  readonly already_so: number;
  /** The first ones, by ID or in the order in which they were named. */
  readonly examples: readonly string[];
  /** Differs if other nodes are selected, or the change is another one. */
  readonly digest: string;
}

const previewFields = { count: z.int(), already_so: z.int(), examples: z.array(idSchema), digest: z.string() };
export const manyNodesPreviewSchema: z.ZodType<ManyNodesPreview> = z.object(previewFields);

export const nodesPreviewChange: Contract<ManyNodesInput, ManyNodesPreview> = {
  name: 'nodes.preview-change',
  scope: 'nodes',
  isLimitable: true,
  input: manyNodesInputSchema,
  output: manyNodesPreviewSchema,
};

export const nodesChangeMany: Contract<ManyNodesInput, NodeChange> = {
  name: 'nodes.change-many',
  scope: 'nodes',
  isLimitable: true,
  input: manyNodesInputSchema,
  output: nodeChangeSchema,
};
