import { type ApiConfig, apiConfigSchema } from '@latchkey/api/config';
import { DEFAULT_OVERLAP_MS, durationMsSchema, type KeySocketSettings, keysSchema } from '@latchkey/key-delivery';
import { DEFAULT_MEMORY, MIN_MEMORY, type LogLevel, LOG_LEVELS } from '@latchkey/runtime/daemon';
import { type Endpoint, type ListenAddress, httpSchema, listenSchema, peerSchema } from '@latchkey/runtime/net';
import { z } from 'zod';

/** UDP port of CoAP (RFC 7252 section 6.1). */
const DEFAULT_LISTEN = '[::]:5683';

/** `latchkey-controller run --config FILE`. */
export interface Config {
  /** `combined`: the registry is in this process, and there is no auth-server. */
  readonly mode: 'relay' | 'combined';
  /** Folder of the registry, in combined mode. */
  readonly registry?: string | undefined;
  /**
   * In combined mode; otherwise systemd's credential registry-master-key, or master.key in that
   * folder.
   */
  readonly registry_master_key_file?: string | undefined;
  /** Auth-servers in the order they are tried; stronger than the credential's. */
  readonly servers?: readonly Endpoint[] | undefined;
  readonly listen: readonly Endpoint[];
  readonly log_level: LogLevel;
  /** MiB that may be resident. */
  readonly memory: number;
  /** Address of health and metrics; not served if absent. */
  readonly http?: ListenAddress | undefined;
  /** How often the auth-server is asked which keys changed, in ms; unset: as `KeyFeed` has it. */
  readonly key_feed?: number | undefined;
  /** For how long the former key of a node is served, in ms. */
  readonly key_overlap: number;
  /** ms without confirmation by the registry, after which no key is given out; 0: never. */
  readonly max_unverified: number;
  /** Sockets through which programs on this machine get keys. */
  readonly keys: readonly KeySocketSettings[];
  /** In combined mode: the management API of the registry, in this process; none without it. */
  readonly api?: ApiConfig | undefined;
  readonly bounds: {
    /** Open transactions in all; some 1.5 KB each, and as many again that are through. */
    readonly transactions: number;
    /** Open transactions of one source: an IPv4 address, the /64 of an IPv6 address. */
    readonly per_source: number;
  };
}

const boundsSchema = z.strictObject({
  transactions: z.int().min(8).max(1_000_000).default(16_384),
  per_source: z.int().min(1).max(1_000_000).default(4_096),
});

/**
 * A revoked key is served for so long. Node.js makes 1 ms of a timer that is longer than 24 days.
 */
const MAX_KEY_FEED_MS = 86_400_000;

export const configSchema: z.ZodType<Config> = z
  .strictObject({
    mode: z.enum(['relay', 'combined']).default('relay'),
    registry: z.string().min(1).optional(),
    registry_master_key_file: z.string().min(1).optional(),
    servers: z.array(peerSchema).min(1).optional(),
    listen: z.array(listenSchema).min(1).prefault([DEFAULT_LISTEN]),
    log_level: z.enum(LOG_LEVELS).default('info'),
    memory: z.int().min(MIN_MEMORY).default(DEFAULT_MEMORY),
    http: z.optional(httpSchema),
    key_feed: durationMsSchema('10s')
      .refine((ms) => ms <= MAX_KEY_FEED_MS, 'expected 1d or less')
      .optional(),
    key_overlap: durationMsSchema('15m').default(DEFAULT_OVERLAP_MS),
    max_unverified: z.union([z.literal(0), durationMsSchema('7d')]).default(0),
    keys: keysSchema.default([]),
    api: z.optional(apiConfigSchema),
    bounds: boundsSchema.prefault({}),
  })
  .superRefine((config, context) => {
    const problem = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message });
    if (config.mode === 'combined' && config.registry === undefined)
      problem('registry', 'expected the folder of the registry, as mode is combined');
    if (config.mode === 'relay' && config.registry !== undefined) problem('registry', 'only for mode: combined');
    if (config.mode === 'relay' && config.registry_master_key_file !== undefined)
      problem('registry_master_key_file', 'only for mode: combined');
    if (config.mode === 'relay' && config.api !== undefined)
      problem('api', 'only for mode: combined; otherwise the auth-server serves the API');
    if (config.mode === 'combined' && config.servers !== undefined) problem('servers', 'only for mode: relay');
  });
