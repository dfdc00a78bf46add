/**
 * Making, listing and revoking tokens. The audit log has each change. Commands make tokens for the
 * machine, which belong to no user; a person makes them in the console (docs/decisions/0041).
 */

import { describeRecipients } from '@latchkey/operations';
import type { OrderLimits } from '@latchkey/operations/contract';
import type { AuditEvent } from '@latchkey/registry';
import { isoTime } from '@latchkey/runtime/iso-time';
import { type Scope, scopesOf } from '../access.js';
import { describeLimits } from '../order-limits.js';
import type { UserRecord, UserStore } from '../users/user-store.js';
import type { NewToken } from './token.js';
import type { ListedToken, TokenOwner, TokenRecord, TokenStore } from './token-store.js';

export const MAX_LIFETIME_S: number = 366 * 86_400;
/**
 * Lifetime of a token of a person of the sign-in provider. Like a session, the token expires this
 * long after the provider last confirmed the person's role.
 */
const MAX_PERSON_LIFETIME_S = 12 * 3_600;
/** So long, in ms, a token counts that was made while the clock was ahead. */
const MAX_AHEAD_MS = 86_400_000;
const MAX_NAME = 64;
/** Characters that are invisible, or that change the display of adjacent characters. */
const UNSEEN = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}]/u;
export const TOKEN_NAME_RULE: string = `expected 1 to ${MAX_NAME} characters that can be seen`;

/** Who changes tokens, and where. */
export interface TokenAdministration {
  readonly tokens: TokenStore;
  readonly record: (event: AuditEvent) => Promise<void>;
  /** As the audit log has it: `user ada`. */
  readonly actor: string;
  /** When the registry was restored, ms since the epoch; `null` if never. */
  readonly registryRestoredAt: number | null;
}

/** What a token is for. */
export interface TokenTerms {
  readonly name: string;
  readonly scopes: readonly Scope[];
  readonly limits: OrderLimits | undefined;
  readonly networks: readonly string[];
  /** Of the scope `keys`: age recipients that keys may be encrypted to. */
  readonly recipients?: readonly string[] | undefined;
  readonly lifetimeSeconds: number;
  /** The person who makes it in the console. */
  readonly owner?: TokenOwner | undefined;
}

export interface TokenView {
  readonly id: string;
  readonly name: string;
  readonly state: 'void' | 'expired' | 'valid';
  readonly scopes: readonly Scope[];
  readonly limits: OrderLimits | null;
  readonly networks: readonly string[];
  readonly recipients: readonly string[];
  readonly created_by: string;
  readonly created_at: string;
  readonly expires_at: string;
  readonly last_used_at: string | null;
  readonly last_used_from: string | null;
}

/** Returns the name as it is stored, or `undefined` for a text that is no name. */
export function readTokenName(text: string): string | undefined {
  const name = text.normalize('NFC').trim();
  return name === '' || name.length > MAX_NAME || UNSEEN.test(name) ? undefined : name;
}

/** @throws UsageFailure if there are too many tokens already */
export async function addToken(
  { tokens, record, actor, registryRestoredAt }: TokenAdministration,
  { id, hash }: NewToken,
  { lifetimeSeconds, recipients = [], ...terms }: TokenTerms,
): Promise<TokenRecord> {
  const createdAt = Date.now();
  const expiresAt = createdAt + 1_000 * lifetimeSeconds;
  const keysFor = recipients.length === 0 ? '' : `; keys for ${describeRecipients(recipients)}`;
  // The log has it before it counts, and no token that the store refuses.
  await tokens.makeRoom(terms.owner, createdAt);
  await record({
    what: 'token created',
    note: `token ${id}: ${terms.scopes.join(', ')}; expires ${isoTime(expiresAt)}${describeLimits(terms.limits)}${keysFor}`,
  });
  const token = {
    id,
    hash,
    ...terms,
    ...(recipients.length === 0 ? {} : { recipients }),
    createdBy: actor,
    createdAt,
    expiresAt,
    registryRestoredAt,
  };
  await tokens.add(token);
  return token;
}

/** Returns false if the token does not exist. */
export async function revokeToken({ tokens, record }: TokenAdministration, id: string): Promise<boolean> {
  // Takes effect first: a right that ends does not wait for the log.
  if (!(await tokens.remove(id))) return false;
  await record({ what: 'token revoked', note: `token ${id}` });
  return true;
}

/**
 * Returns the scopes that the token has now: those of its owner's role at most. Returns `undefined`
 * if its owner was removed, or has a role that makes no tokens.
 */
export function scopesOfToken(
  { owner, scopes }: Pick<TokenRecord, 'owner' | 'scopes'>,
  users: Pick<UserStore, 'find'>,
): readonly Scope[] | undefined {
  if (owner === undefined) return scopes;
  const user = users.find(owner.name);
  // Another person may have got the name since.
  if (user === undefined || user.createdAt !== owner.createdAt || !mayMakeTokens(user)) return undefined;
  const allowed = scopesOf(user.role);
  return scopes.filter((scope) => allowed.has(scope));
}

/** An installer sees some orders, and these change: no token would follow them. */
export function mayMakeTokens({ role }: Pick<UserRecord, 'role'>): boolean {
  return role !== 'installer';
}

/**
 * Whether the clock has gone back since the token was made: it would expire that much later than
 * whoever made it wanted.
 */
export function isFromAhead({ createdAt }: Pick<TokenRecord, 'createdAt'>, now: number): boolean {
  return createdAt > now + MAX_AHEAD_MS;
}

/** Of the tokens of a user, in seconds. */
export function maxLifetimeOf({ identity }: Pick<UserRecord, 'identity'>): number {
  return identity === undefined ? MAX_LIFETIME_S : MAX_PERSON_LIFETIME_S;
}

export function viewToken(
  token: ListedToken,
  { users, registryRestoredAt, now }: { users: Pick<UserStore, 'find'>; registryRestoredAt: number | null; now: number },
): TokenView {
  const isVoid =
    token.registryRestoredAt !== registryRestoredAt || isFromAhead(token, now) || scopesOfToken(token, users) === undefined;
  return {
    id: token.id,
    name: token.name,
    state: isVoid ? 'void' : now >= token.expiresAt ? 'expired' : 'valid',
    scopes: token.scopes,
    limits: token.limits ?? null,
    networks: token.networks,
    recipients: token.recipients ?? [],
    created_by: token.createdBy,
    created_at: isoTime(token.createdAt),
    expires_at: isoTime(token.expiresAt),
    last_used_at: token.lastUse === undefined ? null : isoTime(token.lastUse.at),
    last_used_from: token.lastUse?.address ?? null,
  };
}
