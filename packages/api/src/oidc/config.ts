/** `oidc:` below `api:`: the OpenID provider that persons may sign in with. */

import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { LOCAL_ROLES, type Role } from '../access.js';

const MAX_ROLES = 256;
const MAX_TEXT = 256;
const LOOPBACK = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/;

export interface OidcConfig {
  readonly issuer: string;
  readonly client_id: string;
  readonly client_secret_file: string;
  /** The claim whose values stand for roles: a text, or a list of texts. */
  readonly role_claim: string;
  /** The claim that a person is called by here. */
  readonly name_claim: string;
  /** Roles by value of the claim. A person without one of them is refused. */
  readonly roles: Readonly<Record<string, Role>>;
  /** What is asked of the provider. */
  readonly scopes: readonly string[];
}

const textSchema = z.string().min(1).max(MAX_TEXT);

function isIssuer(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || url.search !== '' || url.hash !== '' || url.username !== '' || url.password !== '') return false;
  return url.protocol === 'https:' || (url.protocol === 'http:' && LOOPBACK.test(url.hostname));
}

export const oidcConfigSchema: z.ZodType<OidcConfig> = z.strictObject({
  issuer: z.string().max(MAX_TEXT).refine(isIssuer, {
    error: 'expected the URL of the issuer, e.g. https://id.example/realms/plant',
  }),
  client_id: textSchema,
  client_secret_file: z.string().refine(isAbsolute, { error: 'expected an absolute path' }),
  role_claim: textSchema.default('groups'),
  name_claim: textSchema.default('preferred_username'),
  roles: z
    .record(textSchema, z.enum(LOCAL_ROLES))
    .refine((roles) => Object.keys(roles).length > 0 && Object.keys(roles).length <= MAX_ROLES, {
      error: `expected 1 to ${MAX_ROLES} values of the claim, each with its role, e.g. {plant-ops: operator}`,
    }),
  scopes: z
    .array(z.string().regex(/^[!#-[\]-~]{1,64}$/, { error: 'expected the name of a scope' }))
    .max(16)
    .default(['profile']),
});
