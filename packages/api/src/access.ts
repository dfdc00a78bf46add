/**
 * Who may call which operation: a role is a set of scopes, an operation needs one scope. Nothing is
 * allowed that is not in this table.
 */

import type { OrderLimits } from '@latchkey/operations/contract';
import { Problem } from './problem.js';

export const SCOPES = ['read', 'describe', 'nodes', 'audit', 'orders', 'controllers', 'keys', 'admin'] as const;
export type Scope = (typeof SCOPES)[number];

/** What a token may be for: everything but users and tokens. */
export const TOKEN_SCOPES: readonly Scope[] = ['read', 'audit', 'describe', 'nodes', 'orders', 'controllers', 'keys'];
/** What a person's token may be for: a token for keys is made on the machine (decision 42). */
export const PERSON_SCOPES: readonly Scope[] = TOKEN_SCOPES.filter((scope) => scope !== 'keys');
/** Of a token that is limited to some orders: nothing of the others is about orders and nodes. */
export const LIMITABLE_SCOPES: readonly Scope[] = ['read', 'describe', 'nodes', 'orders', 'keys'];

export const ROLES = ['viewer', 'installer', 'operator', 'key-officer', 'admin'] as const;
export type Role = (typeof ROLES)[number];
/**
 * Roles of users of this machine: an installer is limited to orders, which its user record names.
 */
export const LOCAL_ROLES: readonly Exclude<Role, 'installer'>[] = ['viewer', 'operator', 'key-officer', 'admin'];

/** Changes of users, and what hands out keys, need a password that was given so recently, in ms. */
const FRESH_SIGN_IN_MS = 5 * 60_000;

const OPERATOR: readonly Scope[] = ['read', 'describe', 'nodes', 'audit'];

const SCOPES_OF_ROLE: Readonly<Record<Role, readonly Scope[]>> = {
  viewer: ['read'],
  installer: ['read', 'describe'],
  operator: OPERATOR,
  'key-officer': [...OPERATOR, 'orders', 'controllers', 'keys'],
  admin: SCOPES,
};

/** An authenticated caller. */
export interface Principal {
  /**
   * Owns the caller's jobs, files, Idempotency-Keys, cursors and rates. Two callers never share an
   * ID, not even one after the other: the ID of a user is random, not the name.
   */
  readonly id: string;
  readonly scopes: ReadonlySet<Scope>;
  /** Orders that it sees; `undefined`: all. It may call only routes that say `isLimitable`. */
  readonly limits?: OrderLimits | undefined;
  /** Whom keys that it has handed out may be encrypted to; `undefined`: to anybody. */
  readonly keyRecipients?: ReadonlySet<string> | undefined;
  /** Names the caller in logs and the audit log, if the ID does not: `user ada`. */
  readonly actor?: string | undefined;
  /** When the person last gave the password, ms since the epoch; `undefined` without one. */
  readonly signedInAt?: number | undefined;
  /**
   * Returns the caller with the rights of now, or `undefined` if it may not go on: for answers that
   * take long. Does not count as a use. Without it a connection keeps its rights until it ends.
   */
  readonly recheck?: (() => Promise<Principal | undefined>) | undefined;
}

/** The caller with the rights of now, or `undefined` if it may not go on. */
export async function recheckPrincipal(principal: Principal): Promise<Principal | undefined> {
  return principal.recheck === undefined ? principal : principal.recheck();
}

/** Throws unless the caller has the scope: for what an input asks beyond its route's scope. */
export function requireScope({ scopes }: Principal, scope: Scope, detail: string): void {
  if (!scopes.has(scope)) throw new Problem('forbidden', { detail });
}

/** Who makes a change, as the audit log has it. */
export function actorOf({ actor, id }: Principal): string {
  return actor ?? id;
}

export function scopesOf(role: Role): ReadonlySet<Scope> {
  return new Set(SCOPES_OF_ROLE[role]);
}

/** Who may change nodes may describe them. */
export function withImplied(scopes: readonly Scope[]): ReadonlySet<Scope> {
  return new Set(scopes.includes('nodes') ? [...scopes, 'describe'] : scopes);
}

/**
 * Throws unless the caller gave the password in the last five minutes. Callers without a password
 * pass: the kernel or a token says who they are.
 */
export function requireFreshSignIn({ signedInAt }: Principal, now: number = Date.now()): void {
  if (signedInAt !== undefined && Math.abs(now - signedInAt) >= FRESH_SIGN_IN_MS) throw new Problem('step-up-required');
}
