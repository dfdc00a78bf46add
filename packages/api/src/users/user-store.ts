/**
 * Users of the console, their sign-in links, sessions and saved filters. Each change is one
 * transaction, so that a user who is removed leaves no session.
 */

import { randomBytes } from 'node:crypto';
import type { OrderLimits } from '@latchkey/operations/contract';
import { UsageFailure } from '@latchkey/runtime/failure';
import type { Database } from 'lmdb';
import type { Role } from '../access.js';
import type { OidcIdentity } from '../oidc/oidc-sign-in.js';
import { OwnStore } from '../own-store.js';
import type { PasswordHash } from './password.js';
import { type FilterTables, SavedFilters } from './saved-filters.js';

const MAX_USERS = 1_024;
/** Sessions of one user. At the bound the least recently used one ends. */
const MAX_SESSIONS = 16;
const ID_OCTETS = 10;

/** Times are ms since the epoch. */
export interface UserRecord {
  /**
   * Owns jobs, files and Idempotency-Keys. A name may be given to another person once its user is
   * removed, and an ID never is.
   */
  readonly id: string;
  /** Signs in with it; the audit log has it. */
  readonly name: string;
  readonly role: Role;
  /** Orders that an installer sees. */
  readonly limits?: OrderLimits | undefined;
  /** `null` until a sign-in link was used. */
  readonly password: PasswordHash | null;
  /** Of a person who signs in with the provider only. */
  readonly identity?: OidcIdentity | undefined;
  /** As the audit log has it: `user ada`. */
  readonly createdBy: string;
  readonly createdAt: number;
}

/** Sets the user's password, once. */
export interface LinkRecord {
  readonly user: string;
  readonly expiresAt: number;
  /** When the registry that it was made for was restored, `null` if never. */
  readonly registryRestoredAt: number | null;
}

export interface SessionRecord {
  /** Public: names the session in lists and logs. */
  readonly id: string;
  readonly user: string;
  /** Of what each request has in addition to the cookie. */
  readonly secretHash: Uint8Array;
  readonly createdAt: number;
  readonly lastUsedAt: number;
  /** When the password was last given. */
  readonly signedInAt: number;
  /** Address from which it was begun, if known. */
  readonly address: string | null;
  readonly registryRestoredAt: number | null;
}

type SessionTimes = Pick<SessionRecord, 'lastUsedAt' | 'signedInAt'>;

/** A user without secrets. */
interface ListedUser extends Omit<UserRecord, 'id' | 'password'> {
  readonly hasPassword: boolean;
  readonly link: LinkRecord | undefined;
}

/** What a person's sign-in changed. */
export interface AddedPerson {
  /** `undefined`: the user is new. */
  readonly roleBefore: Role | undefined;
  /** Names that the person had before: their users have ended, with their sessions. */
  readonly formerNames: readonly string[];
}

/** Hashes are SHA-256, of the text that was given out. */
export interface UserStore {
  readonly filters: SavedFilters;
  /** @throws UsageFailure if the name is taken, or there are too many users */
  add(user: UserRecord): Promise<void>;
  /** Sees what another process wrote before. */
  find(name: string): UserRecord | undefined;
  /** In ascending order of name. */
  list(): readonly ListedUser[];
  /** Returns false if the user does not exist. */
  setRole(name: string, role: Role, limits?: OrderLimits): Promise<boolean>;
  /**
   * Ends the user's links and sessions, and removes the saved filters. Returns false if the user
   * does not exist.
   */
  remove(name: string): Promise<boolean>;
  /** Removes the person's users. Returns their names. */
  removePerson(identity: OidcIdentity): Promise<readonly string[]>;
  /** Ends the user's other link. Returns false if the user does not exist. */
  addLink(hash: Uint8Array, link: LinkRecord): Promise<boolean>;
  findLink(hash: Uint8Array): LinkRecord | undefined;
  /**
   * Uses up a link: sets the password, ends every session of the user and begins a new one. Returns
   * false if the link does not exist any more.
   */
  redeemLink(hash: Uint8Array, password: PasswordHash, sessionHash: Uint8Array, session: SessionRecord): Promise<boolean>;
  /**
   * Begins a session, and ends `replaced`. Returns false if `password`, which was checked before,
   * is the user's no more.
   */
  addSession(
    hash: Uint8Array,
    session: SessionRecord,
    password: PasswordHash,
    replaced: Uint8Array | undefined,
  ): Promise<boolean>;
  /**
   * Begins a session of a person whom the provider has authenticated, with the current role. Ends
   * `replaced`, and removes the users of former names of that person, whose saved filters stay the
   * person's. Returns `undefined`, and changes nothing, if the name belongs to another person, or
   * too many users exist.
   */
  addPersonSession(
    hash: Uint8Array,
    session: SessionRecord,
    person: UserRecord & { readonly identity: OidcIdentity },
    replaced: Uint8Array | undefined,
  ): Promise<AddedPerson | undefined>;
  /**
   * Changes times of a session, and the role of its person to that of now. Returns the role before,
   * or `undefined`, and changes nothing, if the session has ended or is another person's.
   */
  stepUpPerson(hash: Uint8Array, identity: OidcIdentity, role: Role, times: SessionTimes): Promise<Role | undefined>;
  findSession(hash: Uint8Array): SessionRecord | undefined;
  sessionsOf(user: string): readonly SessionRecord[];
  /** Changes times of a session, if it has not ended. */
  updateSession(hash: Uint8Array, times: Partial<SessionTimes>): Promise<boolean>;
  endSession(hash: Uint8Array): Promise<void>;
  /** Returns false if the user has no session of this ID. */
  endSessionOf(user: string, id: string): Promise<boolean>;
  /**
   * Ends every session of the user but `kept`. Returns false, and changes nothing, if `before` is
   * the user's password no more.
   */
  setPassword(name: string, before: PasswordHash, password: PasswordHash, kept: Uint8Array): Promise<boolean>;
  close(): Promise<void>;
}

/** @param folder of the registry */
export async function openUserStore(folder: string): Promise<UserStore> {
  const { store, tables } = await OwnStore.open(folder, {
    name: 'api-users',
    schema: 1,
    tables: (open): UserTables => ({
      users: open('users'),
      links: open('links'),
      sessions: open('sessions'),
      filters: open('filters'),
      sharedFilters: open('shared-filters'),
    }),
    thenMake: 'add the users again',
  });
  return new LmdbUserStore(store, tables);
}

export function generateUserId(): string {
  return randomBytes(ID_OCTETS).toString('hex');
}

interface UserTables extends FilterTables {
  readonly users: Database<UserRecord, string>;
  readonly links: Database<LinkRecord, string>;
  readonly sessions: Database<SessionRecord, string>;
}

class LmdbUserStore implements UserStore {
  readonly #store: OwnStore;
  readonly #users: Database<UserRecord, string>;
  readonly #links: Database<LinkRecord, string>;
  readonly #sessions: Database<SessionRecord, string>;
  readonly filters: SavedFilters;

  constructor(store: OwnStore, { users, links, sessions, ...filterTables }: UserTables) {
    this.#store = store;
    this.#users = users;
    this.#links = links;
    this.#sessions = sessions;
    this.filters = new SavedFilters(store, filterTables, (name) => users.get(name));
  }

  add(user: UserRecord): Promise<void> {
    return this.#store.write(() => {
      if (this.#users.doesExist(user.name))
        throw new UsageFailure(`there is a user ${user.name} already`, { advice: 'Nothing was changed. Choose another name.' });
      if (this.#users.getKeysCount() >= MAX_USERS)
        throw new UsageFailure(`there are ${MAX_USERS} users already`, {
          advice: 'Nothing was changed. Remove those that are not needed:',
          run: [['latchkey-auth-server', 'user', 'list']],
        });
      this.#users.putSync(user.name, user);
    });
  }

  find(name: string): UserRecord | undefined {
    return this.#store.read(() => this.#users.get(name));
  }

  list(): readonly ListedUser[] {
    return this.#store.read(() => {
      const links = new Map([...this.#links.getRange()].map(({ value }) => [value.user, value]));
      return [...this.#users.getRange()].map(({ value: { password, name, role, limits, identity, createdBy, createdAt } }) => ({
        name,
        role,
        limits,
        createdBy,
        createdAt,
        identity,
        hasPassword: password !== null,
        link: links.get(name),
      }));
    });
  }

  setRole(name: string, role: Role, limits?: OrderLimits): Promise<boolean> {
    return this.#store.write(() => {
      const user = this.#users.get(name);
      if (user === undefined) return false;
      this.#users.putSync(name, { ...user, role, limits });
      return true;
    });
  }

  remove(name: string): Promise<boolean> {
    return this.#store.write(() => this.#remove(name));
  }

  removePerson(identity: OidcIdentity): Promise<readonly string[]> {
    return this.#store.write(() => this.#namesOf(identity).filter((name) => this.#remove(name)));
  }

  addLink(hash: Uint8Array, link: LinkRecord): Promise<boolean> {
    return this.#store.write(() => {
      if (!this.#users.doesExist(link.user)) return false;
      this.#endLinks(link.user);
      this.#links.putSync(keyOf(hash), link);
      return true;
    });
  }

  findLink(hash: Uint8Array): LinkRecord | undefined {
    return this.#store.read(() => this.#links.get(keyOf(hash)));
  }

  redeemLink(hash: Uint8Array, password: PasswordHash, sessionHash: Uint8Array, session: SessionRecord): Promise<boolean> {
    return this.#store.write(() => {
      const link = this.#links.get(keyOf(hash));
      const user = link && this.#users.get(link.user);
      if (user === undefined) return false;
      this.#links.removeSync(keyOf(hash));
      this.#endSessions(user.name);
      this.#users.putSync(user.name, { ...user, password });
      this.#sessions.putSync(keyOf(sessionHash), session);
      return true;
    });
  }

  addSession(
    hash: Uint8Array,
    session: SessionRecord,
    password: PasswordHash,
    replaced: Uint8Array | undefined,
  ): Promise<boolean> {
    return this.#store.write(() => {
      if (!this.#hasPassword(session.user, password)) return false;
      this.#beginSession(hash, session, replaced);
      return true;
    });
  }

  addPersonSession(
    hash: Uint8Array,
    session: SessionRecord,
    person: UserRecord & { readonly identity: OidcIdentity },
    replaced: Uint8Array | undefined,
  ): Promise<AddedPerson | undefined> {
    return this.#store.write(() => {
      const before = this.#users.get(person.name);
      const formerNames = this.#namesOf(person.identity).filter((name) => name !== person.name);
      if (before === undefined && this.#users.getKeysCount() - formerNames.length >= MAX_USERS) return undefined;
      if (before !== undefined && !isSamePerson(before.identity, person.identity)) return undefined;
      const user = { ...(before ?? person), role: person.role };
      for (const name of formerNames) {
        this.filters.move(this.#users.get(name)?.id ?? '', user);
        this.#remove(name);
      }
      this.#users.putSync(person.name, user);
      this.#beginSession(hash, session, replaced);
      return { roleBefore: before?.role, formerNames };
    });
  }

  stepUpPerson(hash: Uint8Array, identity: OidcIdentity, role: Role, times: SessionTimes): Promise<Role | undefined> {
    return this.#store.write(() => {
      const session = this.#sessions.get(keyOf(hash));
      const user = session && this.#users.get(session.user);
      if (session === undefined || user === undefined || !isSamePerson(user.identity, identity)) return undefined;
      this.#sessions.putSync(keyOf(hash), { ...session, ...times });
      this.#users.putSync(user.name, { ...user, role });
      return user.role;
    });
  }

  #beginSession(hash: Uint8Array, session: SessionRecord, replaced: Uint8Array | undefined): void {
    if (replaced !== undefined) this.#sessions.removeSync(keyOf(replaced));
    const others = this.#sessionsOf(session.user).toSorted((a, b) => b.value.lastUsedAt - a.value.lastUsedAt);
    for (const { key } of others.slice(MAX_SESSIONS - 1)) this.#sessions.removeSync(key);
    this.#sessions.putSync(keyOf(hash), session);
  }

  findSession(hash: Uint8Array): SessionRecord | undefined {
    return this.#store.read(() => this.#sessions.get(keyOf(hash)));
  }

  sessionsOf(user: string): readonly SessionRecord[] {
    return this.#store.read(() => this.#sessionsOf(user).map(({ value }) => value));
  }

  updateSession(hash: Uint8Array, times: Partial<SessionTimes>): Promise<boolean> {
    return this.#store.write(() => {
      const session = this.#sessions.get(keyOf(hash));
      if (session === undefined) return false;
      this.#sessions.putSync(keyOf(hash), { ...session, ...times });
      return true;
    });
  }

  async endSession(hash: Uint8Array): Promise<void> {
    await this.#store.write(() => this.#sessions.removeSync(keyOf(hash)));
  }

  endSessionOf(user: string, id: string): Promise<boolean> {
    return this.#store.write(() => {
      const found = this.#sessionsOf(user).find(({ value }) => value.id === id);
      return found !== undefined && this.#sessions.removeSync(found.key);
    });
  }

  setPassword(name: string, before: PasswordHash, password: PasswordHash, kept: Uint8Array): Promise<boolean> {
    return this.#store.write(() => {
      const user = this.#users.get(name);
      if (user === undefined || !this.#hasPassword(name, before)) return false;
      this.#users.putSync(name, { ...user, password });
      this.#endLinks(name);
      this.#endSessions(name, kept);
      return true;
    });
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** Each password has a random salt. */
  #hasPassword(name: string, { salt }: PasswordHash): boolean {
    const password = this.#users.get(name)?.password ?? undefined;
    return password !== undefined && Buffer.compare(password.salt, salt) === 0;
  }

  #namesOf(identity: OidcIdentity): readonly string[] {
    const users = [...this.#users.getRange()].filter(({ value }) => isSamePerson(value.identity, identity));
    return users.map(({ key }) => key);
  }

  #remove(name: string): boolean {
    const user = this.#users.get(name);
    if (user === undefined) return false;
    this.#endLinks(name);
    this.#endSessions(name);
    this.filters.removeOf(user.id);
    return this.#users.removeSync(name);
  }

  #sessionsOf(user: string): { readonly key: string; readonly value: SessionRecord }[] {
    return [...this.#sessions.getRange()].filter(({ value }) => value.user === user);
  }

  #endLinks(user: string): void {
    const links = [...this.#links.getRange()].filter(({ value }) => value.user === user);
    for (const { key } of links) this.#links.removeSync(key);
  }

  #endSessions(user: string, kept?: Uint8Array): void {
    for (const { key } of this.#sessionsOf(user)) if (kept === undefined || key !== keyOf(kept)) this.#sessions.removeSync(key);
  }
}

/** A provider may reuse names, but not subjects. */
export function isSamePerson(a: OidcIdentity | undefined, b: OidcIdentity): boolean {
  return a !== undefined && a.issuer === b.issuer && a.subject === b.subject;
}

function keyOf(hash: Uint8Array): string {
  return Buffer.from(hash).toString('hex');
}
