/**
 * Where tokens are kept: an LMDB store of their own beside the registry, so that no backup of the
 * registry brings back a token. Both the API and commands have it open.
 */

import { join } from 'node:path';
import { openStore, writeFailure } from '@latchkey/lmdb';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import type { Database, RootDatabase } from 'lmdb';
import type { Scope } from '../access.js';

const FOLDER = 'api-tokens';
/** Version of what is in the tables. */
const SCHEMA = 1;
const MAX_TOKENS = 1_024;

/** A token without its secret. Times are ms since the epoch. */
export interface TokenRecord {
  readonly id: string;
  /** For people. */
  readonly name: string;
  readonly hash: Uint8Array;
  readonly scopes: readonly Scope[];
  /** Networks that it may be used from, as `192.0.2.0/24`; empty: from anywhere. */
  readonly networks: readonly string[];
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

export interface TokenStore {
  /** @throws UsageFailure if there are too many already */
  add(token: TokenRecord): Promise<void>;
  /** Sees what another process wrote before. */
  find(id: string): Promise<TokenRecord | undefined>;
  list(): Promise<readonly (TokenRecord & { readonly lastUse: TokenUse | undefined })[]>;
  /** Returns false if the token does not exist. */
  remove(id: string): Promise<boolean>;
  recordUse(id: string, use: TokenUse): Promise<void>;
  close(): Promise<void>;
}

/** @param folder of the registry */
export async function openTokenStore(folder: string): Promise<TokenStore> {
  const path = join(folder, FOLDER);
  const env = await openStore(path, { maxDbs: 3, ifDamaged: `Nothing was changed. Move ${path} away, and make new tokens.` });
  try {
    const tables = await env.openTables(() => ({
      metadata: env.openDB<unknown, string>({ name: 'metadata' }),
      tokens: env.openDB<TokenRecord, string>({ name: 'tokens' }),
      uses: env.openDB<TokenUse, string>({ name: 'uses' }),
    }));
    const { metadata } = tables;
    const schema = metadata.get('schema');
    if (schema === undefined) await env.childTransaction(() => metadata.putSync('schema', SCHEMA));
    else if (schema !== SCHEMA)
      throw new Failure(`the store ${path} has another schema; this version of Latchkey reads schema ${SCHEMA}`, {
        advice: 'Nothing was changed. Use the version that wrote the store, or move it away and make new tokens.',
      });
    return new LmdbTokenStore(path, env, tables);
  } catch (error) {
    await env.close();
    throw error instanceof Failure ? error : await writeFailure(path, error);
  }
}

interface TokenTables {
  readonly tokens: Database<TokenRecord, string>;
  readonly uses: Database<TokenUse, string>;
}

class LmdbTokenStore implements TokenStore {
  readonly #path: string;
  readonly #env: RootDatabase;
  readonly #tokens: Database<TokenRecord, string>;
  readonly #uses: Database<TokenUse, string>;

  constructor(path: string, env: RootDatabase, { tokens, uses }: TokenTables) {
    this.#path = path;
    this.#env = env;
    this.#tokens = tokens;
    this.#uses = uses;
  }

  add(token: TokenRecord): Promise<void> {
    return this.#write(() => {
      if (this.#tokens.getKeysCount() >= MAX_TOKENS)
        throw new UsageFailure(`there are ${MAX_TOKENS} tokens already`, {
          advice: 'Nothing was changed. Revoke those that are not used:',
          run: [['latchkey-auth-server', 'token', 'list']],
        });
      this.#tokens.putSync(token.id, token);
    });
  }

  find(id: string): Promise<TokenRecord | undefined> {
    this.#env.resetReadTxn();
    return Promise.resolve(this.#tokens.get(id));
  }

  list(): Promise<readonly (TokenRecord & { readonly lastUse: TokenUse | undefined })[]> {
    this.#env.resetReadTxn();
    const rows = [...this.#tokens.getRange()].map(({ key, value }) =>
      Object.assign({ ...value }, { lastUse: this.#uses.get(key) }),
    );
    return Promise.resolve(rows.toSorted((a, b) => a.createdAt - b.createdAt));
  }

  remove(id: string): Promise<boolean> {
    return this.#write(() => {
      this.#uses.removeSync(id);
      return this.#tokens.removeSync(id);
    });
  }

  recordUse(id: string, use: TokenUse): Promise<void> {
    return this.#write(() => {
      if (this.#tokens.doesExist(id)) this.#uses.putSync(id, use);
    });
  }

  close(): Promise<void> {
    return this.#env.close();
  }

  async #write<T>(action: () => T): Promise<T> {
    try {
      return await this.#env.childTransaction(action);
    } catch (error) {
      if (error instanceof Failure) throw error;
      throw await writeFailure(this.#path, error);
    }
  }
}
