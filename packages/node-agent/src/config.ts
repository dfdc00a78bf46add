import { type HttpPlace, httpSchema, type LogLevel, logLevelSchema } from '@latchkey/runtime';
import { z } from 'zod';

/** `latchkey-node-agent run --config FILE`. */
export interface Config {
  /** A shell command, run after a new key is durable, with LATCHKEY_ID and LATCHKEY_STATE in its environment. */
  readonly on_key_change?: string | undefined;
  readonly log_level: LogLevel;
  /** Where health and metrics are served; nowhere without it. */
  readonly http?: HttpPlace | undefined;
}

export const configSchema: z.ZodType<Config> = z.strictObject({
  on_key_change: z.string().min(1).optional(),
  log_level: logLevelSchema.default('info'),
  http: httpSchema.optional(),
});
