/** Why a request or a job failed (RFC 9457). */

import { z } from 'zod';

/** One error in the input: its field, and the expected value. */
export interface InputError {
  readonly at: string;
  readonly is: string;
}

export interface ProblemDocument {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail?: string | undefined;
  readonly advice?: string | undefined;
  /** Commands that follow the advice. */
  readonly run?: readonly string[] | undefined;
  readonly errors?: readonly InputError[] | undefined;
  /** The current preview of a change that was previewed before. */
  readonly preview?: unknown;
}

export const problemSchema: z.ZodType<ProblemDocument> = z
  .object({
    type: z.string().describe('Stable name of the kind of problem'),
    title: z.string(),
    status: z.int(),
    detail: z.string().optional(),
    advice: z.string().optional().describe('What to do about it'),
    run: z.array(z.string()).optional().describe('Commands that follow the advice'),
    errors: z
      .array(z.object({ at: z.string().describe('Field of the input'), is: z.string().describe('What was expected') }))
      .optional(),
    preview: z.unknown().optional().describe('Of `selection-changed`: what the change would do now'),
  })
  .meta({ id: 'Problem' });
