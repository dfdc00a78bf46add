import { z } from 'zod';
import { type Contract, idSchema, printedTimeSchema } from './contract.js';

export interface TimeRangeView {
  readonly from: string;
  readonly until: string;
}

const rangeSchema: z.ZodType<TimeRangeView> = z.object({ from: printedTimeSchema, until: printedTimeSchema });

export interface ClockView {
  /** No key is committed before this time. */
  readonly holdoff_until: string | null;
  /** Times of which no key is committed: the clock showed them before it was set back. */
  readonly blocked_ranges: readonly TimeRangeView[];
  /** Controllers that still use an SK_cs from before that. */
  readonly controllers_with_old_keys: readonly string[];
}

export const clockShow: Contract<object, ClockView> = {
  name: 'clock.show',
  scope: 'read',
  input: z.strictObject({}),
  output: z.object({
    holdoff_until: printedTimeSchema.nullable(),
    blocked_ranges: z.array(rangeSchema),
    controllers_with_old_keys: z.array(idSchema),
  }),
};

export interface ClockRelease {
  readonly released_ranges: readonly TimeRangeView[];
  readonly holdoff_until: string | null;
}

export const clockRelease: Contract<object, ClockRelease> = {
  name: 'clock.release',
  scope: 'admin',
  input: z.strictObject({}),
  output: z.object({ released_ranges: z.array(rangeSchema), holdoff_until: printedTimeSchema.nullable() }),
};
