/** `webhooks:` below `api:`: where changes of the registry are sent. */

import { isAbsolute } from 'node:path';
import { httpSchema, type ListenAddress } from '@latchkey/runtime/net';
import { z } from 'zod';

const MAX_WEBHOOKS = 16;
const MAX_KINDS = 64;
const MAX_URL = 1_024;
/** A name of a file, and a label of metrics. */
const NAME = /^[a-z0-9][a-z0-9-]{0,31}$/;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

export interface WebhookConfig {
  readonly url: string;
  /** `whsec_` and 24 to 64 octets in base64. */
  readonly secret_file: string;
  /** Kinds of entries, `node joined` say; all of them if it is left out. */
  readonly what?: readonly string[] | undefined;
  /** Whether the name in the URL may lead to a private or local address. */
  readonly private: boolean;
}

export interface WebhooksConfig {
  /** File that stores the progress of each webhook. */
  readonly state: string;
  /** An API token with the scope `audit`. */
  readonly token_file: string;
  /** Health and metrics. */
  readonly http?: ListenAddress | undefined;
  readonly to: Readonly<Record<string, WebhookConfig>>;
}

const pathSchema = z.string().refine(isAbsolute, { error: 'expected an absolute path' });

function isTarget(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.hash !== '' || url.username !== '' || url.password !== '') return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname));
}

const webhookSchema = z.strictObject({
  url: z.string().max(MAX_URL).refine(isTarget, {
    error: 'expected https://HOST/PATH without a user, or http:// of this machine',
  }),
  secret_file: pathSchema,
  what: z.array(z.string().min(1).max(64)).min(1).max(MAX_KINDS).optional(),
  private: z.boolean().default(false),
});

export const webhooksConfigSchema: z.ZodType<WebhooksConfig> = z.strictObject({
  state: pathSchema,
  token_file: pathSchema,
  http: z.optional(httpSchema),
  to: z
    .record(z.string().regex(NAME, { error: 'expected a name of 1 to 32 of a-z, 0-9 and `-`' }), webhookSchema)
    .refine((to) => Object.keys(to).length > 0 && Object.keys(to).length <= MAX_WEBHOOKS, {
      error: `expected 1 to ${MAX_WEBHOOKS} webhooks, e.g. {ops: {url: https://hooks.example/latchkey, secret_file: FILE}}`,
    }),
});
