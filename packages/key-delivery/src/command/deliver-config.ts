import { DEFAULT_MEMORY, LOG_LEVELS, type LogLevel, MIN_MEMORY } from '@latchkey/runtime/daemon';
import { httpSchema, type ListenAddress } from '@latchkey/runtime/net';
import { isAbsolute } from 'node:path';
import * as z from 'zod/mini';
import { durationSchema, type TargetConfig, targetsSchema } from '../targets/index.js';

/** `deliver --config FILE`. */
export interface DeliverConfig {
  /** The daemon's key socket. */
  readonly socket: string;
  /** Folder of the journals. */
  readonly state: string;
  /** Seconds for which a former key is still served. Default: as long as the daemon stores it. */
  readonly overlap?: number | undefined;
  readonly targets: readonly TargetConfig[];
  readonly log_level: LogLevel;
  /** MiB that may be resident. */
  readonly memory: number;
  /** Address of health and metrics; not served if absent. */
  readonly http?: ListenAddress | undefined;
}

/** Default locations of a daemon's key socket, and of the journals of its `deliver`. */
export interface DeliverDefaults {
  readonly socket: string;
  readonly state: string;
}

const SCHEME = 'unix:';

const pathSchema = z.string().check(z.refine(isAbsolute, 'expected an absolute path'));
const socketSchema = z.pipe(
  z.string().check(z.refine((text) => isAbsolute(withoutScheme(text)), 'expected the path of a socket, beginning with /')),
  z.transform(withoutScheme),
);

export const deliverConfigSchema = ({ socket, state }: DeliverDefaults): z.ZodMiniType<DeliverConfig> =>
  z.strictObject({
    socket: z._default(socketSchema, socket),
    state: z._default(pathSchema, state),
    overlap: z.optional(durationSchema),
    targets: targetsSchema,
    log_level: z._default(z.enum(LOG_LEVELS), 'info'),
    memory: z._default(z.int().check(z.minimum(MIN_MEMORY)), DEFAULT_MEMORY),
    http: z.optional(httpSchema),
  });

function withoutScheme(text: string): string {
  return text.startsWith(SCHEME) ? text.slice(SCHEME.length) : text;
}
