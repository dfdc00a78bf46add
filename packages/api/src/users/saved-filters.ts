/**
 * Filters of nodes that people gave a name. A filter belongs to one user and is removed with that
 * user. A shared one is visible to every user who sees all orders.
 *
 * A filter may name sites, orders and people. So a user who is limited to orders shares none, and
 * sees the own ones only.
 */

import { randomBytes } from 'node:crypto';
import type { Database } from 'lmdb';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type Role, scopesOf } from '../access.js';
import type { OwnStore } from '../own-store.js';
import { Problem } from '../problem.js';

/** Of one user. With the maximum of users this is the maximum in all. */
export const MAX_FILTERS = 50;
/** Of all users. Everybody's list has them. */
const MAX_SHARED = 256;
const ID_OCTETS = 10;

/** A user, as the store of users has it. */
interface Person {
  readonly id: string;
  readonly name: string;
  readonly role: Role;
}

export interface FilterTerms {
  readonly name: string;
  /** As the URL of the page of nodes has it. */
  readonly query: string;
  readonly isShared: boolean;
}

export interface FilterRecord extends FilterTerms {
  /** Random. */
  readonly id: string;
  /** ID of the user. */
  readonly owner: string;
  readonly ownerName: string;
  /** ms since the epoch */
  readonly savedAt: number;
}

export interface FilterTables {
  /** By ID of the user and ID of the filter. */
  readonly filters: Database<FilterRecord, string>;
  /** Keys of the filters that are shared. */
  readonly sharedFilters: Database<true, string>;
}

type FindUser = (name: string) => Person | undefined;

/** The user's rights of now count, not those of the time when a filter was shared. */
function seesAllOrders({ role }: Person): boolean {
  return role !== 'installer';
}

function isShared(filter: FilterRecord, owner: Person): boolean {
  return filter.isShared && seesAllOrders(owner);
}

/** Every change sees the user as it is in the same transaction. */
export class SavedFilters {
  readonly #store: OwnStore;
  readonly #filters: Database<FilterRecord, string>;
  readonly #shared: Database<true, string>;
  readonly #findUser: FindUser;

  constructor(store: OwnStore, { filters, sharedFilters }: FilterTables, findUser: FindUser) {
    this.#store = store;
    this.#filters = filters;
    this.#shared = sharedFilters;
    this.#findUser = findUser;
  }

  /** The user's own filters by name, then those that others share, by name. */
  list(user: Person): readonly FilterRecord[] {
    return this.#store.read(() => {
      const own = this.#ownOf(user.id).map((filter) => asOwnedBy(user, filter));
      return [...sortedByName(own), ...sortedByName(this.#sharedWith(user))];
    });
  }

  /**
   * @throws Problem if the user has a filter of that name, may not share it, or does not exist
   * @throws UsageFailure if there are too many filters
   */
  add(user: Person, terms: FilterTerms): Promise<FilterRecord> {
    return this.#store.write(() => {
      const now = this.#userNow(user);
      const { id: owner, name: ownerName } = now;
      const own = this.#ownOf(owner);
      requireFreeName(own, terms.name);
      if (own.length >= MAX_FILTERS)
        throw new UsageFailure(`you have ${MAX_FILTERS} saved filters already`, {
          advice: 'Nothing was changed. Remove one that is not needed.',
        });
      const id = randomBytes(ID_OCTETS).toString('hex');
      const filter = { id, owner, ownerName, ...terms, savedAt: Date.now() };
      this.#put(now, filter, false);
      return filter;
    });
  }

  /**
   * Changes a filter of the user. Returns `undefined` if the user has none of that ID.
   *
   * @throws as `add`
   */
  change(user: Person, id: string, changes: Partial<FilterTerms>): Promise<FilterRecord | undefined> {
    return this.#store.write(() => {
      const now = this.#userNow(user);
      const before = this.#filters.get(keyOf(now.id, id));
      if (before === undefined) return undefined;
      const wasShared = isShared(before, now);
      const filter = { ...before, isShared: wasShared, ...changes, savedAt: Date.now() };
      const others = this.#ownOf(now.id).filter((one) => one.id !== id);
      requireFreeName(others, filter.name);
      this.#put(now, filter, wasShared);
      return filter;
    });
  }

  /**
   * Removes a filter of the user; an administrator also removes those that others share. Returns
   * false if the user sees no such filter.
   */
  remove(user: Person, id: string): Promise<boolean> {
    return this.#store.write(() => {
      const now = this.#userNow(user);
      const others = scopesOf(now.role).has('admin') ? this.#sharedWith(now) : [];
      const found = this.#filters.get(keyOf(now.id, id)) ?? others.find((one) => one.id === id);
      return found !== undefined && this.#remove(found);
    });
  }

  /** Within a transaction of the caller. */
  removeOf(owner: string): void {
    for (const filter of this.#ownOf(owner)) this.#remove(filter);
  }

  /** Within a transaction of the caller: one person has a new name. */
  move(owner: string, { id, name }: Person): void {
    for (const filter of this.#ownOf(owner)) {
      this.#remove(filter);
      this.#write({ ...filter, owner: id, ownerName: name });
    }
  }

  #put(user: Person, filter: FilterRecord, wasShared: boolean): void {
    if (filter.isShared && !wasShared) {
      if (!seesAllOrders(user)) throw new Problem('forbidden', { detail: 'Who sees some orders only does not share filters.' });
      if (this.#shared.getKeysCount() >= MAX_SHARED)
        throw new UsageFailure(`${MAX_SHARED} filters are shared already`, {
          advice: 'Nothing was changed. Save the filter for yourself, or ask somebody to remove a shared one.',
        });
    }
    this.#write(filter);
  }

  #write(filter: FilterRecord): void {
    const key = keyOf(filter.owner, filter.id);
    this.#filters.putSync(key, filter);
    if (filter.isShared) this.#shared.putSync(key, true);
    else this.#shared.removeSync(key);
  }

  #remove({ owner, id }: FilterRecord): boolean {
    this.#shared.removeSync(keyOf(owner, id));
    return this.#filters.removeSync(keyOf(owner, id));
  }

  /** The session may have outlived its user by a moment. */
  #userNow({ name, id }: Person): Person {
    const user = this.#findUser(name);
    if (user?.id !== id) throw new Problem('not-authenticated');
    return user;
  }

  #ownOf(owner: string): readonly FilterRecord[] {
    return [...this.#filters.getRange({ start: keyOf(owner, ''), end: keyOf(owner, '~') })].map(({ value }) => value);
  }

  #sharedWith(user: Person): readonly FilterRecord[] {
    if (!seesAllOrders(user)) return [];
    return [...this.#shared.getKeys()].flatMap((key) => {
      const filter = this.#filters.get(key);
      const owner = filter && this.#findUser(filter.ownerName);
      return filter !== undefined && filter.owner !== user.id && owner?.id === filter.owner && isShared(filter, owner)
        ? [filter]
        : [];
    });
  }
}

function asOwnedBy(user: Person, filter: FilterRecord): FilterRecord {
  return { ...filter, isShared: isShared(filter, user) };
}

/** Only digits, letters and a dot: keys of one user are a range. */
function keyOf(owner: string, id: string): string {
  return `${owner}.${id}`;
}

function requireFreeName(others: readonly FilterRecord[], name: string): void {
  if (others.some((one) => one.name === name)) throw new Problem('already-exists');
}

function sortedByName(filters: readonly FilterRecord[]): readonly FilterRecord[] {
  return filters.toSorted((a, b) => (a.name < b.name ? -1 : 1));
}
