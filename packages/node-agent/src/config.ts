import { type ListenAddress, httpSchema } from '@latchkey/runtime/net';
import { LOG_LEVELS, type LogLevel } from '@latchkey/runtime/daemon';
import * as z from 'zod/mini';

/** `latchkey-node-agent run --config FILE`. */
export interface Config {
  /**
   * A shell command, run after a new key is durable, and when the key expires. LATCHKEY_ID,
   * LATCHKEY_STATE and LATCHKEY_REASON are in its environment.
   */
  readonly on_key_change?: string | undefined;
  readonly log_level: LogLevel;
  /** Validated in targets.ts, so that an agent without targets does not load their schema. */
  readonly targets?: unknown;
  readonly activate_after?: unknown;
  /** Where health and metrics are served; nowhere without it. */
  readonly http?: ListenAddress | undefined;
}

export const configSchema: z.ZodMiniType<Config> = z.strictObject({
  on_key_change: z.optional(z.string().check(z.minLength(1))),
  targets: z.optional(z.unknown()),
  activate_after: z.optional(z.unknown()),
  log_level: z._default(z.enum(LOG_LEVELS), 'info'),
  http: z.optional(httpSchema),
});
