import { z } from 'zod';
import { type Contract, idSchema, printedTimeSchema } from './contract.js';

/** An ID for which a controller asked, and which the registry does not have. */
export interface WaitingNode {
  readonly id: string;
  /** Since when it was asked for without a pause that is known. */
  readonly since: string;
  readonly last_seen_at: string;
  /** How often it was asked for. */
  readonly count: number;
  /** The controller that asked last. */
  readonly controller: string;
  /**
   * Nodes of the registry whose ID differs in one digit, or in two neighbours that changed places:
   * one of them may be meant.
   */
  readonly similar: readonly string[];
}

export const waitingNodeSchema: z.ZodType<WaitingNode> = z.object({
  id: idSchema,
  since: printedTimeSchema,
  last_seen_at: printedTimeSchema,
  count: z.int(),
  controller: idSchema,
  similar: z.array(idSchema),
});

/** IDs in one page at most. */
export const MAX_WAITING_PAGE = 1_000;

export interface WaitingListInput {
  /** Goes on after this ID. */
  readonly after?: string | undefined;
  readonly limit: number;
}

export interface WaitingPage {
  readonly items: readonly WaitingNode[];
  /** For `after`; `null` if there are no more. */
  readonly next: string | null;
  /** On all pages. */
  readonly total: number;
}

export const waitingList: Contract<WaitingListInput, WaitingPage> = {
  name: 'waiting.list',
  scope: 'read',
  input: z.strictObject({ after: idSchema.optional(), limit: z.int().min(1).max(MAX_WAITING_PAGE) }),
  output: z.object({ items: z.array(waitingNodeSchema), next: idSchema.nullable(), total: z.int() }),
};

export interface WaitingDismissInput {
  readonly ids: readonly string[];
}

export interface WaitingDismissal {
  /** How many of the IDs were waiting. */
  readonly dismissed: number;
}

/** A dismissed node returns to the list at its next request. */
export const waitingDismiss: Contract<WaitingDismissInput, WaitingDismissal> = {
  name: 'waiting.dismiss',
  scope: 'nodes',
  input: z.strictObject({ ids: z.array(idSchema).min(1).max(MAX_WAITING_PAGE) }),
  output: z.object({ dismissed: z.int() }),
};
