import { z } from 'zod';
import { type AuditEntryView, auditEntrySchema } from './audit.js';
import {
  type Contract,
  durationSchema,
  fingerprintSchema,
  idSchema,
  nameSchema,
  orderNumberSchema,
  printedTimeSchema,
  textSchema,
  timeSchema,
} from './contract.js';
import {
  type DescriptionChange,
  descriptionChangeSchema,
  descriptionFields,
  type DescriptionView,
  TEXT_LIMITS,
} from './descriptions.js';
import { type Diagnosis, diagnosisSchema } from './diagnosis.js';

/** `expiring`: it should have renewed its key by now. `expired`: it may still, within its grace. */
export const NODE_STATES = ['enrolled', 'joined', 'expiring', 'expired', 'disabled'] as const;
export type NodeStatus = (typeof NODE_STATES)[number];

/**
 * A node; times in ISO 8601. No key, only its fingerprint, which a caller with limits does not get.
 */
export interface NodeView extends DescriptionView {
  readonly id: string;
  readonly state: NodeStatus;
  readonly controller: string;
  readonly order: number;
  readonly key: string | null;
  readonly key_is_initial: boolean;
  /** Whether its initial key is, or was, made of a device key and the installer's half. */
  readonly split: boolean;
  readonly lifetime_seconds: number;
  readonly grace_seconds: number;
  readonly added_at: string;
  readonly joined_at: string | null;
  readonly renewed_at: string | null;
  readonly expires_at: string | null;
  readonly address: string | null;
  readonly tid: string | null;
}

const nodeFields = z.object({
  id: idSchema,
  state: z.enum(NODE_STATES),
  controller: idSchema,
  order: orderNumberSchema,
  key: fingerprintSchema.nullable(),
  key_is_initial: z.boolean(),
  split: z.boolean(),
  lifetime_seconds: durationSchema,
  grace_seconds: durationSchema,
  added_at: printedTimeSchema,
  joined_at: printedTimeSchema.nullable(),
  renewed_at: printedTimeSchema.nullable(),
  expires_at: printedTimeSchema.nullable(),
  address: z.string().nullable(),
  tid: z.string().nullable(),
  ...descriptionFields,
});
export const nodeSchema: z.ZodType<NodeView> = nodeFields;

/** Which nodes. What is left out excludes no node. */
export interface NodeFilter {
  /** One of these. */
  readonly state?: readonly NodeStatus[] | undefined;
  readonly order?: number | undefined;
  readonly controller?: string | undefined;
  /** The installer of their order. */
  readonly installer?: string | undefined;
  readonly expires_before?: string | undefined;
  /** At this time or later. */
  readonly expires_from?: string | undefined;
  /** Those that still hold their initial key. */
  readonly never_joined?: boolean | undefined;
  /** The first hex digits of their IDs. */
  readonly id_prefix?: string | undefined;
  /** Those whose latest join or renewal came at this time or after it. */
  readonly joined_since?: string | undefined;
  /** At one of these sites. */
  readonly site?: readonly string[] | undefined;
  /** With one of these tags. */
  readonly tag?: readonly string[] | undefined;
  /** Substring of their description or ID, case-insensitive. */
  readonly search?: string | undefined;
}

/** Sites, or tags, that one filter has. */
const MAX_VALUES = 64;

const filterFields = {
  state: z.array(z.enum(NODE_STATES)).optional(),
  order: orderNumberSchema.optional(),
  controller: idSchema.optional(),
  installer: z.string().optional(),
  expires_before: timeSchema.optional(),
  expires_from: timeSchema.optional(),
  never_joined: z.boolean().optional(),
  id_prefix: z
    .string()
    .regex(/^[0-9a-f]{1,8}$/, 'expected 1 to 8 hex digits')
    .optional(),
  joined_since: timeSchema.optional(),
  site: z.array(textSchema(TEXT_LIMITS.site)).min(1).max(MAX_VALUES).optional(),
  tag: z.array(textSchema(TEXT_LIMITS.tag)).min(1).max(MAX_VALUES).optional(),
  search: textSchema(TEXT_LIMITS.location).optional(),
};

/** Nodes in one page at most. */
export const MAX_PAGE = 1_000;

export interface NodeListInput extends NodeFilter {
  /** Goes on after this ID. */
  readonly after?: string | undefined;
  readonly limit: number;
}

export interface NodePage {
  readonly items: readonly NodeView[];
  /** For `after`; `null` if there are no more. */
  readonly next: string | null;
}

export const nodesList: Contract<NodeListInput, NodePage> = {
  name: 'nodes.list',
  scope: 'read',
  isLimitable: true,
  input: z.strictObject({ ...filterFields, after: idSchema.optional(), limit: z.int().min(1).max(MAX_PAGE) }),
  output: z.object({ items: z.array(nodeSchema), next: idSchema.nullable() }),
};

/** How many nodes match a filter. */
export interface NodeCount {
  readonly nodes: number;
  /** Those that traded their initial key in. */
  readonly joined: number;
  readonly states: Readonly<Record<NodeStatus, number>>;
}

export const nodesCount: Contract<NodeFilter, NodeCount> = {
  name: 'nodes.count',
  scope: 'read',
  isLimitable: true,
  input: z.strictObject(filterFields),
  output: z.object({ nodes: z.int(), joined: z.int(), states: z.record(z.enum(NODE_STATES), z.int()) }),
};

export interface NodeInput {
  readonly id: string;
  /** Asks for the key holders, too: the registry is read from end to end for them. */
  readonly key_holders?: boolean | undefined;
}

/** Fields are `null` if a caller with limits may not see them, or if they were not requested. */
export interface NodeDetails extends NodeView {
  /** Controllers that could have its key. */
  readonly key_holders: readonly string[] | null;
  /** Whether more could: the registry does not know. */
  readonly other_key_holders: boolean | null;
  /** Fingerprint of the initial key that it came with. */
  readonly initial_key: string | null;
  /** What happened to it, oldest first: the entry that brought it, and the latest ones. */
  readonly life: readonly AuditEntryView[];
}

export const nodesShow: Contract<NodeInput, NodeDetails> = {
  name: 'nodes.show',
  scope: 'read',
  input: z.strictObject({ id: idSchema, key_holders: z.boolean().optional() }),
  output: nodeFields.extend({
    key_holders: z.array(idSchema).nullable(),
    other_key_holders: z.boolean().nullable(),
    initial_key: fingerprintSchema.nullable(),
    life: z.array(auditEntrySchema),
  }),
};

export interface ExportedNode extends NodeView {
  readonly initial_key: string;
  readonly seen_by: readonly string[];
}

export const exportedNodeSchema: z.ZodType<ExportedNode> = nodeFields.extend({
  initial_key: fingerprintSchema,
  seen_by: z.array(idSchema),
});

export interface NodeExport {
  readonly count: number;
}

export const nodesExport: Contract<NodeFilter, NodeExport> = {
  name: 'nodes.export',
  scope: 'read',
  input: z.strictObject(filterFields),
  output: z.object({ count: z.int() }),
};

export const nodesExportWithKeys: Contract<NodeFilter, NodeExport> = {
  ...nodesExport,
  name: 'nodes.export-with-keys',
  scope: 'keys',
};

/** Nodes one by one; or all that match a filter, which excludes some. */
export interface NodeSelection extends NodeFilter {
  readonly ids?: readonly string[] | undefined;
}

export const selectionSchema: z.ZodType<NodeSelection> = z
  .strictObject({
    ids: z.array(idSchema).min(1).optional(),
    ...filterFields,
  })
  .refine(({ ids, ...filter }) => (ids === undefined) === Object.values(filter).some((value) => value !== undefined), {
    error: 'expected IDs, or a filter such as an order or a controller',
  });

export interface NodeChangeInput {
  readonly select: NodeSelection;
}

export interface NodeChange {
  readonly changed: number;
  /** Those that were so already. */
  readonly unchanged: number;
  /**
   * Those that passed the filter when they were selected, and no more when they were to be changed.
   */
  readonly passed_over?: number | undefined;
}

export const nodeChangeSchema: z.ZodType<NodeChange> = z.object({
  changed: z.int(),
  unchanged: z.int(),
  passed_over: z.int().optional().describe('Nodes that did not pass the filter any more when they were to be changed'),
});

function change(name: string): Contract<NodeChangeInput, NodeChange> {
  return {
    name,
    scope: 'nodes',
    isLimitable: true,
    input: z.strictObject({ select: selectionSchema }),
    output: nodeChangeSchema,
  };
}

export const nodesDisable: Contract<NodeChangeInput, NodeChange> = change('nodes.disable');
export const nodesEnable: Contract<NodeChangeInput, NodeChange> = change('nodes.enable');
export const nodesRemove: Contract<NodeChangeInput, NodeChange> = change('nodes.remove');

export interface NodeMoveInput extends NodeChangeInput {
  /** The controller that they join through from now on. */
  readonly to: string;
}

export const nodesMove: Contract<NodeMoveInput, NodeChange> = {
  name: 'nodes.move',
  scope: 'nodes',
  input: z.strictObject({ select: selectionSchema, to: idSchema }),
  output: nodeChangeSchema,
};

export interface NodeSetInput extends NodeChangeInput {
  readonly lifetime_seconds?: number | undefined;
  readonly grace_seconds?: number | undefined;
  /** A name that is not `null` is of one node only. */
  readonly description?: DescriptionChange | undefined;
}

export const nodesSet: Contract<NodeSetInput, NodeChange> = {
  name: 'nodes.set',
  scope: 'nodes',
  isLimitable: true,
  input: z
    .strictObject({
      select: selectionSchema,
      lifetime_seconds: durationSchema.optional(),
      grace_seconds: durationSchema.optional(),
      description: descriptionChangeSchema.optional(),
    })
    .refine(({ select: _, ...settings }) => Object.values(settings).some((value) => value !== undefined), {
      error: 'expected lifetime_seconds, grace_seconds or description',
    }),
  output: nodeChangeSchema,
};

export interface NodeResetInput {
  /** Nodes one by one; or the nodes of an order that still hold their initial key. */
  readonly ids?: readonly string[] | undefined;
  readonly order?: number | undefined;
  /** Fingerprint: of the order only the nodes that still hold this initial key. */
  readonly holding?: string | undefined;
  /** Nodes whose initial key is split get a whole one. */
  readonly unsplit: boolean;
  /** Who has the device keys, if those are given. */
  readonly manufacturer?: string | undefined;
}

/**
 * Number of nodes that were reset to an initial key. Has details of the key if one node was named.
 */
export interface NodeReset {
  readonly nodes: number;
  /**
   * Nodes of the order that joined in the meantime: they keep their keys, and are in no manifest.
   */
  readonly passed_over: number;
  /** True if the initial keys were generated, and handed out. */
  readonly drawn: boolean;
  /** Whether the installer has halves of the initial keys. */
  readonly split: boolean;
  /** Fingerprint of the initial key; `null` for a caller with limits. */
  readonly key: string | null;
  /** The remaining obstacle to a join of the node, once its device sends a request. */
  readonly diagnosis: Diagnosis | null;
}

export const nodesReset: Contract<NodeResetInput, NodeReset> = {
  name: 'nodes.reset',
  scope: 'keys',
  isLimitable: true,
  input: z
    .strictObject({
      ids: z.array(idSchema).min(1).optional(),
      order: orderNumberSchema.optional(),
      holding: fingerprintSchema.optional(),
      unsplit: z.boolean(),
      manufacturer: nameSchema.optional(),
    })
    .refine(({ ids, order }) => (ids === undefined) !== (order === undefined), { error: 'expected IDs or an order' })
    .refine(({ order, holding }) => order !== undefined || holding === undefined, { error: 'expected holding with an order' }),
  output: z.object({
    nodes: z.int(),
    passed_over: z.int(),
    drawn: z.boolean(),
    split: z.boolean(),
    key: fingerprintSchema.nullable(),
    diagnosis: diagnosisSchema.nullable(),
  }),
};
