// What the test files share: keys, and a store with a keyring in it that several may open.

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import type { Database, RootDatabase } from 'lmdb';
import { onTestFinished } from 'vitest';
import { tempFolder } from './fixtures.js';
import { Keyring, LmdbMetadata } from '@latchkey/keyring';
import { openStore } from '@latchkey/lmdb';

process.umask(0o077);

export function newSecret(): Secret {
  return Secret.from(randomBytes(16));
}

/** A keyring wipes its master keys. */
export function copyOf(key: Secret): Secret {
  return Secret.from(key.expose());
}

/**
 * Reads of a store that are open, whatever the process: its number, and that of the transaction
 * that is read.
 */
export function openReaders(env: RootDatabase): string[] {
  const readers = env.readerList().split('\n');
  return readers.filter((line) => /^ *\d+ +[0-9a-f]+ +\d+$/.test(line));
}

/** The name of the store in messages. */
export const NAME = '/somewhere/store';

/** A store as a daemon keeps one: what is about it, keys, and one keyring. */
export class SealedStore {
  readonly folder: string;
  readonly env: RootDatabase;
  readonly metadata: Database<unknown, string>;
  readonly keys: Database<Uint8Array, number>;
  #keyring: Keyring | undefined;

  private constructor(folder: string, env: RootDatabase) {
    this.folder = folder;
    this.env = env;
    this.metadata = env.openDB({ name: 'metadata' });
    this.keys = env.openDB({ name: 'keys', keyEncoding: 'uint32' });
  }

  static async create(master: Secret): Promise<SealedStore> {
    const store = await SealedStore.#at(await tempFolder());
    await store.env.childTransaction(() => {
      store.#keyring = Keyring.create(new LmdbMetadata(store.metadata), NAME, copyOf(master));
    });
    return store;
  }

  /** As another process would. */
  static async open(folder: string, master: Secret): Promise<SealedStore> {
    const store = await SealedStore.#at(folder);
    store.#keyring = Keyring.open(new LmdbMetadata(store.metadata), NAME, copyOf(master));
    return store;
  }

  static async #at(folder: string): Promise<SealedStore> {
    const env = await openStore(join(folder, 'store'), { maxDbs: 4 });
    onTestFinished(() => env.close());
    return new SealedStore(folder, env);
  }

  get keyring(): Keyring {
    if (this.#keyring === undefined) throw new Error('no keyring');
    return this.#keyring;
  }

  /** A write transaction as every store makes one. */
  write<T>(action: () => T): Promise<T> {
    return this.env.childTransaction(() => {
      this.keyring.reload();
      return action();
    });
  }
}
