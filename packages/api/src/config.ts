/** `api:` in the configuration of the auth-server. */

import { isAbsolute } from 'node:path';
import { MAX_SOCKET_PATH } from '@latchkey/runtime/net';
import { z } from 'zod';
import { type Role, ROLES } from './access.js';

/** A user or a group: a name as useradd(8) takes it, or a number. */
const ACCOUNT = /^(?:\d{1,10}|[a-zA-Z_][a-zA-Z0-9_.-]{0,31}\$?)$/;
const MAX_LOCAL_USERS = 1_000;

export interface ApiConfig {
  /** Path of the unix socket for users of this machine. */
  readonly socket: string;
  /** Group that may connect to the socket. */
  readonly group?: string | undefined;
  /** Roles of users in addition to root and the user of the API. */
  readonly local: Readonly<Record<string, Role>>;
}

export const apiConfigSchema: z.ZodType<ApiConfig> = z.strictObject({
  socket: z.string().refine((path) => isAbsolute(path) && Buffer.byteLength(path) <= MAX_SOCKET_PATH, {
    error: `expected an absolute path of ${MAX_SOCKET_PATH} octets at most, e.g. /run/latchkey/api.sock`,
  }),
  group: z.string().regex(ACCOUNT, { error: 'expected the name of a group, or its number' }).optional(),
  local: z
    .record(z.string().regex(ACCOUNT, { error: 'expected the name of a user, or its uid' }), z.enum(ROLES))
    .refine((roles) => Object.keys(roles).length <= MAX_LOCAL_USERS, { error: `expected ${MAX_LOCAL_USERS} users at most` })
    .default({}),
});
