import {
  DEFAULT_MEMORY,
  type Endpoint,
  type ListenAddress,
  httpSchema,
  MIN_MEMORY,
  listenSchema,
  type LogLevel,
  LOG_LEVELS,
} from '@latchkey/runtime';
import { z } from 'zod';

/** UDP port of the profile (its "CoAP binding"). */
const DEFAULT_LISTEN = '[::]:5693';

/** `latchkey-auth-server run --config FILE`. */
export interface Config {
  readonly listen: readonly Endpoint[];
  readonly log_level: LogLevel;
  /** MiB that may be resident. */
  readonly memory: number;
  /** Where health and metrics are served; nowhere without it. */
  readonly http?: ListenAddress | undefined;
}

export const configSchema: z.ZodType<Config> = z.strictObject({
  listen: z.array(listenSchema).min(1).prefault([DEFAULT_LISTEN]),
  log_level: z.enum(LOG_LEVELS).default('info'),
  memory: z.int().min(MIN_MEMORY).default(DEFAULT_MEMORY),
  http: z.optional(httpSchema),
});
