/**
 * Storage of tokens: an LMDB store next to the registry. It is separate, so that no backup of the
 * registry restores a token. Both the API and commands open it.
 */

import type { OrderLimits } from '@latchkey/operations/contract';
import { UsageFailure } from '@latchkey/runtime/failure';
import type { Database } from 'lmdb';
import type { Scope } from '../access.js';
import { OwnStore } from '../own-store.js';

const MAX_TOKENS = 1_024;
/** Limit per user, so that no user exhausts the total. */
const MAX_OF_OWNER = 32;

/** A user of the console. The time distinguishes a user from a later one of the same name. */
export interface TokenOwner {
  readonly name: string;
  readonly createdAt: number;
}

/** A token without its secret. Times are ms since the epoch. */
export interface TokenRecord {
  readonly id: string;
  /** For people. */
  readonly name: string;
  readonly hash: Uint8Array;
  readonly scopes: readonly Scope[];
  /** Orders that it is limited to; `undefined`: all. */
  readonly limits?: OrderLimits | undefined;
  /** Networks that it may be used from, as `192.0.2.0/24`; empty: from anywhere. */
  readonly networks: readonly string[];
  /** Of the scope `keys`: age recipients that keys may be encrypted to. */
  readonly recipients?: readonly string[] | undefined;
  /** `undefined`: it was made by a command, and belongs to the machine. */
  readonly owner?: TokenOwner | undefined;
  /** As the audit log has it: `user ada`. */
  readonly createdBy: string;
  readonly createdAt: number;
  readonly expiresAt: number;
  /** When the registry that it was made for was restored, `null` if never. */
  readonly registryRestoredAt: number | null;
}

interface TokenUse {
  readonly at: number;
  readonly address: string | null;
}

export interface ListedToken extends TokenRecord {
  readonly lastUse: TokenUse | undefined;
}

export interface TokenStore {
  /**
   * Removes expired tokens if the store is full.
   *
   * @throws UsageFailure if it is still full
   */
  makeRoom(owner: TokenOwner | undefined, now: number): Promise<void>;
  /** Makes space first. */
  add(token: TokenRecord): Promise<void>;
  /** Sees what another process wrote before. */
  find(id: string): Promise<TokenRecord | undefined>;
  list(): Promise<readonly ListedToken[]>;
  /** Returns false if the token does not exist. */
  remove(id: string): Promise<boolean>;
  recordUse(id: string, use: TokenUse): Promise<void>;
  close(): Promise<void>;
}

/** @param folder of the registry */
export async function openTokenStore(folder: string): Promise<TokenStore> {
  const { store, tables } = await OwnStore.open(folder, {
    name: 'api-tokens',
    // A build that reads schema 1 would not heed the recipients of a token.
    schema: 1,
    tables: (open): TokenTables => ({ tokens: open('tokens'), uses: open('uses') }),
    thenMake: 'make new tokens',
  });
  return new LmdbTokenStore(store, tables);
}

interface TokenTables {
  readonly tokens: Database<TokenRecord, string>;
  readonly uses: Database<TokenUse, string>;
}

class LmdbTokenStore implements TokenStore {
  readonly #store: OwnStore;
  readonly #tokens: Database<TokenRecord, string>;
  readonly #uses: Database<TokenUse, string>;

  constructor(store: OwnStore, { tokens, uses }: TokenTables) {
    this.#store = store;
    this.#tokens = tokens;
    this.#uses = uses;
  }

  makeRoom(owner: TokenOwner | undefined, now: number): Promise<void> {
    return this.#store.write(() => this.#makeRoom(owner, now));
  }

  add(token: TokenRecord): Promise<void> {
    return this.#store.write(() => {
      this.#makeRoom(token.owner, token.createdAt);
      this.#tokens.putSync(token.id, token);
    });
  }

  #makeRoom(owner: TokenOwner | undefined, now: number): void {
    if (this.#whyFull(owner) === undefined) return;
    const expired = [...this.#tokens.getRange()].filter(({ value }) => value.expiresAt <= now);
    for (const { key } of expired) this.#remove(key);
    const failure = this.#whyFull(owner);
    if (failure !== undefined) throw failure;
  }

  #whyFull(owner: TokenOwner | undefined): UsageFailure | undefined {
    if (this.#tokens.getKeysCount() >= MAX_TOKENS)
      return new UsageFailure(`there are ${MAX_TOKENS} tokens already`, {
        advice: 'Nothing was changed. Revoke those that are not used:',
        run: [['latchkey-auth-server', 'token', 'list']],
      });
    if (owner !== undefined && this.#countOf(owner) >= MAX_OF_OWNER)
      return new UsageFailure(`the user has ${MAX_OF_OWNER} tokens already`, {
        advice: 'Nothing was changed. Revoke those that are not used.',
      });
    return undefined;
  }

  #countOf({ name, createdAt }: TokenOwner): number {
    const owners = [...this.#tokens.getRange()].map(({ value }) => value.owner);
    return owners.filter((owner) => owner?.name === name && owner.createdAt === createdAt).length;
  }

  #remove(id: string): boolean {
    this.#uses.removeSync(id);
    return this.#tokens.removeSync(id);
  }

  find(id: string): Promise<TokenRecord | undefined> {
    return Promise.resolve(this.#store.read(() => this.#tokens.get(id)));
  }

  list(): Promise<readonly ListedToken[]> {
    const rows = this.#store.read(() =>
      [...this.#tokens.getRange()].map(({ key, value }) => Object.assign({ ...value }, { lastUse: this.#uses.get(key) })),
    );
    return Promise.resolve(rows.toSorted((a, b) => a.createdAt - b.createdAt));
  }

  remove(id: string): Promise<boolean> {
    return this.#store.write(() => this.#remove(id));
  }

  recordUse(id: string, use: TokenUse): Promise<void> {
    return this.#store.write(() => {
      if (this.#tokens.doesExist(id)) this.#uses.putSync(id, use);
    });
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
