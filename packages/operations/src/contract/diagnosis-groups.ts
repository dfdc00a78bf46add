import { z } from 'zod';
import { type Contract, idSchema, printedTimeSchema } from './contract.js';
import { type Action, actionSchema, type Cause, CAUSES } from './diagnosis.js';
import { type NodeFilter, nodesCount } from './nodes.js';

/**
 * Nodes that have not joined, or do not renew, for one cause, and of which one action takes care.
 */
export interface DiagnosisGroup {
  readonly cause: Cause;
  readonly nodes: number;
  /** The first of them, by ID. */
  readonly examples: readonly string[];
  /** Sentence and advice for the first node of the group. */
  readonly sentence: string;
  readonly action: Action;
}

export interface DiagnosisGroups {
  /** Time of the diagnosis. */
  readonly at: string;
  readonly nodes: number;
  /** The largest first; those that are well last. */
  readonly groups: readonly DiagnosisGroup[];
}

export interface DiagnosisGroupsInput {
  /** Without any, all nodes. */
  readonly filter: NodeFilter;
}

const groupSchema: z.ZodType<DiagnosisGroup> = z.object({
  cause: z.enum(CAUSES),
  nodes: z.int(),
  examples: z.array(idSchema),
  sentence: z.string(),
  action: actionSchema,
});

export const nodesDiagnoseGroups: Contract<DiagnosisGroupsInput, DiagnosisGroups> = {
  name: 'nodes.diagnose-groups',
  scope: 'read',
  isLimitable: true,
  input: z.strictObject({ filter: nodesCount.input }),
  output: z.object({ at: printedTimeSchema, nodes: z.int(), groups: z.array(groupSchema) }),
};
