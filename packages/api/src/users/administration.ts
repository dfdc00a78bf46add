/**
 * Adding and removing users, their roles and their sign-in links. The audit log has each change.
 */

import type { OrderLimits } from '@latchkey/operations/contract';
import type { AuditEvent } from '@latchkey/registry';
import type { Role } from '../access.js';
import { isoTime } from '@latchkey/runtime/iso-time';
import { describeLimits, requireLimitsOf } from '../order-limits.js';
import { generateSecret, hashOfSecret } from './random-secret.js';
import { generateUserId, type LinkRecord, type UserStore } from './user-store.js';

const USER_NAME = /^[a-z][a-z0-9._-]{0,31}$/;
const PROVIDER_NAME = /^oidc:[a-z0-9][a-z0-9._@+-]{0,47}$/;
/** The audit log has commands of this machine's root by that name. */
const RESERVED = 'root';
export const USER_NAME_RULE = 'expected 1 to 32 of a-z, 0-9, `.`, `_` and `-`, with a letter first, and not root';
const LINK_LIFETIME_MS = 15 * 60_000;
/** Tolerance between stored times and the current time, in ms. */
export const CLOCK_TOLERANCE_MS = 60_000;

export function isUserName(text: string): boolean {
  return USER_NAME.test(text) && text !== RESERVED;
}

/** A person of the sign-in provider, as it is listed. */
export function isProviderName(text: string): boolean {
  return PROVIDER_NAME.test(text);
}

/** Who changes users, and where. */
export interface UserAdministration {
  readonly users: UserStore;
  readonly record: (event: AuditEvent) => Promise<void>;
  /** As the audit log has it: `user ada`. */
  readonly actor: string;
  /** When the registry was restored, ms since the epoch; `null` if never. */
  readonly registryRestoredAt: number | null;
  /** Of the console, e.g. `http://localhost:8080`. */
  readonly origin: string;
}

/** Sets a password, once. */
export interface SignInLink {
  /** Has its secret in the fragment, which a browser sends nowhere. */
  readonly url: string;
  /** ms since the epoch */
  readonly expiresAt: number;
}

/**
 * @param limits orders of an installer
 * @throws UsageFailure if the name is taken, there are too many users, or the role has other limits
 */
export async function addUser(
  administration: UserAdministration,
  name: string,
  role: Role,
  limits?: OrderLimits,
): Promise<SignInLink> {
  const { users, record, actor } = administration;
  requireLimitsOf(role, limits);
  await users.add({ id: generateUserId(), name, role, limits, password: null, createdBy: actor, createdAt: Date.now() });
  // A user without a password and a link cannot sign in: the log has it before it counts.
  await record({ what: 'user added', note: `user ${name}: ${role}${describeLimits(limits)}` });
  const link = await createLink(administration, name);
  if (link === undefined) throw new Error('the user was removed at once');
  return link;
}

/** Returns `undefined` if the user does not exist. The user's other link ends. */
export async function createLink(
  { users, record, registryRestoredAt, origin }: UserAdministration,
  name: string,
): Promise<SignInLink | undefined> {
  const user = users.find(name);
  // A person of the sign-in provider gets no password.
  if (user === undefined || user.identity !== undefined) return undefined;
  const token = generateSecret();
  const hash = hashOfSecret(token);
  if (hash === undefined) throw new TypeError('a new secret has a hash');
  const expiresAt = Date.now() + LINK_LIFETIME_MS;
  await record({ what: 'sign-in link made', note: `user ${name}` });
  const isAdded = await users.addLink(hash, { user: name, expiresAt, registryRestoredAt });
  return isAdded ? { url: `${origin}/sign-in#link=${token}`, expiresAt } : undefined;
}

/**
 * Returns when a link expires (ISO 8601), or `null` if there is none that can still be used.
 *
 * @param registryRestoredAt ms since the epoch; `null` if it never was
 */
export function linkExpiry(link: LinkRecord | undefined, now: number, registryRestoredAt: number | null): string | null {
  if (link === undefined || link.registryRestoredAt !== registryRestoredAt) return null;
  const remaining = link.expiresAt - now;
  // A clock that was set back does not make it last longer.
  return remaining > 0 && remaining <= LINK_LIFETIME_MS + CLOCK_TOLERANCE_MS ? isoTime(link.expiresAt) : null;
}

/** Returns false if the user does not exist. */
export async function setRole(
  { users, record }: UserAdministration,
  name: string,
  role: Role,
  limits?: OrderLimits,
): Promise<boolean> {
  requireLimitsOf(role, limits);
  const before = users.find(name);
  // The sign-in provider says what its persons may do.
  if (before === undefined || before.identity !== undefined) return false;
  await record({ what: 'user role changed', note: `user ${name}: ${before.role} to ${role}${describeLimits(limits)}` });
  return users.setRole(name, role, limits);
}

/** Returns false if the user does not exist. */
export async function removeUser({ users, record }: UserAdministration, name: string): Promise<boolean> {
  // Takes effect first: a right that ends does not wait for the log.
  if (!(await users.remove(name))) return false;
  await record({ what: 'user removed', note: `user ${name}` });
  return true;
}
