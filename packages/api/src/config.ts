/** `api:` in the configuration of the auth-server. */

import { isAbsolute } from 'node:path';
import { type Endpoint, isSocketPath, listenSchema, MAX_SOCKET_PATH } from '@latchkey/runtime/net';
import { z } from 'zod';
import { LOCAL_ROLES, type Role } from './access.js';
import { type OidcConfig, oidcConfigSchema } from './oidc/config.js';
import { type WebhooksConfig, webhooksConfigSchema } from './webhooks/config.js';

/** A user or a group: a name as useradd(8) takes it, or a number. */
const ACCOUNT = /^(?:\d{1,10}|[a-zA-Z_][a-zA-Z0-9_.-]{0,31}\$?)$/;
/** A name or an address, and a port unless it is 443. IPv6 is in brackets. */
const HOST = /^(?:[a-z0-9.-]{1,253}|\[[0-9a-f:.]+\])(?::\d{1,5})?$/;
const MAX_LOCAL_USERS = 1_000;

/** A unix socket, and the group that may connect to it. */
export interface SocketConfig {
  readonly socket: string;
  readonly group?: string | undefined;
}

export interface GatewayConfig {
  readonly listen: readonly Endpoint[];
  /** PEM files: the certificate with its chain, and its key. */
  readonly cert: string;
  readonly key: string;
  /** PEM file: authorities of client certificates. With it, no client connects without one. */
  readonly client_ca?: string | undefined;
  /** What a request may have as its Host. */
  readonly hosts: readonly string[];
}

/** The console, and the API for its pages. */
export interface BrowserConfig {
  /** Loopback: in clear. */
  readonly listen: readonly Endpoint[];
  /** Socket for browsers, through the gateway or another TLS proxy. */
  readonly socket?: string | undefined;
  /** The group that may connect to the socket. */
  readonly group?: string | undefined;
  /** What a browser has in its address bar, e.g. `http://localhost:8080`. */
  readonly origin: string;
  /** The console's built files, if they are not those of its package. */
  readonly console?: string | undefined;
}

export interface ApiConfig extends SocketConfig {
  /** Roles of users in addition to root and the user of the API. */
  readonly local: Readonly<Record<string, Role>>;
  /** Socket for callers with tokens, through a proxy. */
  readonly remote?: SocketConfig | undefined;
  /** The proxy of `latchkey-auth-server api-gateway`. */
  readonly gateway?: GatewayConfig | undefined;
  readonly browser?: BrowserConfig | undefined;
  /** A provider that persons in a browser may sign in with. */
  readonly oidc?: OidcConfig | undefined;
  /** What `latchkey-auth-server webhooks` sends, and where to. */
  readonly webhooks?: WebhooksConfig | undefined;
}

const socketFields = {
  socket: z.string().refine(isSocketPath, {
    error: `expected an absolute path of ${MAX_SOCKET_PATH} octets at most, e.g. /run/latchkey/api.sock`,
  }),
  group: z.string().regex(ACCOUNT, { error: 'expected the name of a group, or its number' }).optional(),
};
const pathSchema = z.string().refine(isAbsolute, { error: 'expected an absolute path' });

const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|::1)$/;

/** A browser keeps `Secure` cookies of https and of this machine only. */
function isOrigin(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.origin !== text) return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname.replaceAll(/[[\]]/g, '')));
}

const apiFields = {
  ...socketFields,
  local: z
    .record(z.string().regex(ACCOUNT, { error: 'expected the name of a user, or its uid' }), z.enum(LOCAL_ROLES))
    .refine((roles) => Object.keys(roles).length <= MAX_LOCAL_USERS, { error: `expected ${MAX_LOCAL_USERS} users at most` })
    .default({}),
  remote: z.strictObject(socketFields).optional(),
  gateway: z
    .strictObject({
      listen: z.array(listenSchema).min(1).max(16),
      cert: pathSchema,
      key: pathSchema,
      client_ca: pathSchema.optional(),
      hosts: z
        .array(z.string().regex(HOST, { error: 'expected a host and its port in lower case, e.g. plant.example:8443' }))
        .min(1)
        .max(64),
    })
    .optional(),
  browser: z
    .strictObject({
      listen: z
        .array(
          z.pipe(
            listenSchema,
            z.custom<Endpoint>((endpoint) => LOOPBACK.test((endpoint as Endpoint).host), {
              error: 'expected an address of this machine, e.g. 127.0.0.1:8080: the listener is in clear',
            }),
          ),
        )
        .max(16)
        .default([]),
      socket: socketFields.socket.optional(),
      group: socketFields.group,
      origin: z.string().refine(isOrigin, {
        error: 'expected https://HOST, or http://localhost with a port, as a browser shows it, e.g. http://localhost:8080',
      }),
      console: pathSchema.optional(),
    })
    .refine(({ listen, socket }) => listen.length > 0 || socket !== undefined, {
      error: 'expected `listen`, e.g. ["127.0.0.1:8080"], or `socket` for the gateway, or both',
    })
    .optional(),
  oidc: oidcConfigSchema.optional(),
  webhooks: webhooksConfigSchema.optional(),
};

export const apiConfigSchema: z.ZodType<ApiConfig> = z
  .strictObject(apiFields)
  .refine(({ browser, oidc }) => oidc === undefined || browser !== undefined, {
    path: ['oidc'],
    error: 'expected `browser:` as well: persons sign in with a browser',
  })
  .refine(({ remote, webhooks }) => webhooks === undefined || remote !== undefined, {
    path: ['webhooks'],
    error: 'expected `remote:` as well: webhooks read the audit log there, with a token',
  });
