import { type ApiConfig, apiConfigSchema } from '@latchkey/api/config';
import { DEFAULT_OVERLAP_MS, durationMsSchema, type KeySocketSettings, keysSchema } from '@latchkey/key-delivery';
import { DEFAULT_MEMORY, MIN_MEMORY, type LogLevel, LOG_LEVELS } from '@latchkey/runtime/daemon';
import { type Endpoint, type ListenAddress, httpSchema, listenSchema } from '@latchkey/runtime/net';
import type { PostgresConfig } from '@latchkey/registry/postgres';
import { z } from 'zod';
import { postgresSchema } from './postgres-config.js';

/** UDP port of the profile (its "CoAP binding"). */
const DEFAULT_LISTEN = '[::]:5693';

/** `--config FILE` of `latchkey-auth-server run` and `latchkey-auth-server api`. */
export interface Config {
  readonly listen: readonly Endpoint[];
  readonly log_level: LogLevel;
  /** MiB that may be resident. */
  readonly memory: number;
  /** Address of health and metrics; not served if absent. */
  readonly http?: ListenAddress | undefined;
  /** Location of the registry, if not in the data folder. */
  readonly registry?: { readonly postgres: PostgresConfig } | undefined;
  /** Sockets through which programs on this machine get keys of all nodes. */
  readonly keys: readonly KeySocketSettings[];
  /** For how long these give out the former key of a node, in ms. */
  readonly key_overlap: number;
  /** The management API; none without it. */
  readonly api?: ApiConfig | undefined;
}

export const configSchema: z.ZodType<Config> = z.strictObject({
  listen: z.array(listenSchema).min(1).prefault([DEFAULT_LISTEN]),
  log_level: z.enum(LOG_LEVELS).default('info'),
  memory: z.int().min(MIN_MEMORY).default(DEFAULT_MEMORY),
  http: z.optional(httpSchema),
  registry: z.optional(z.strictObject({ postgres: postgresSchema })),
  keys: keysSchema.default([]),
  key_overlap: durationMsSchema('15m').default(DEFAULT_OVERLAP_MS),
  api: z.optional(apiConfigSchema),
});

/** Settings of a controller's configuration that apply to its registry in combined mode. */
const OF_COMBINED = new Set(['api', 'log_level', 'memory']);

function fromCombined(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || !('mode' in value) || value.mode !== 'combined') return value;
  return Object.fromEntries(Object.entries(value).filter(([name]) => OF_COMBINED.has(name)));
}

/** `--config FILE` of other commands: also the configuration of a controller in combined mode. */
export const commandConfigSchema: z.ZodType<Config> = z.preprocess(fromCombined, configSchema);
