/** The tables of a store of application roots, and the keyring that unseals them. */

import { randomBytes } from 'node:crypto';
import { type KeyContext, Keyring, KEY_KIND, LmdbMetadata } from '@latchkey/keyring';
import { openStore, writeFailure } from '@latchkey/lmdb';
import { FIRST_CURSOR, KEY_LENGTH, Secret } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import type { Database, RootDatabase } from 'lmdb';
import { toFeedRow } from './feed-progress.js';
import type { NodeKeysRow } from './node-key-rows.js';

/** Version of the tables. */
const SCHEMA = 1;
export const FEED_KEY = 'key feed';
/** A random key, sealed as all others are: shows whether a borrowed keyring opens them. */
const SEAL_CHECK_KEY = 'seal check';
const SEAL_CHECK: KeyContext = { kind: KEY_KIND.applicationRoot, id: 0 };
/** Advice for a command: a daemon puts a damaged store aside. */
const IF_DAMAGED = 'Start the daemon: it puts the store aside, and gets the keys from the registry again.';

export interface StoreTables {
  readonly env: RootDatabase;
  readonly nodeKeys: Database<NodeKeysRow, number>;
  readonly metadata: LmdbMetadata;
  readonly keyring: Keyring;
  /** Whether the keyring belongs to the store, which wipes it. */
  readonly isKeyringOwn: boolean;
}

/**
 * Opens or creates the tables.
 *
 * @param master the store's own master key, or the keyring of a registry, which remains the
 *   caller's. Keys that such a keyring does not unseal are dropped: the registry has them.
 */
export async function openTables(path: string, master: Secret | Keyring): Promise<StoreTables> {
  const env = await openStore(path, { maxDbs: 4, ifDamaged: IF_DAMAGED });
  try {
    const { nodeKeys, metadata } = await env.openTables(() => ({
      nodeKeys: env.openDB<NodeKeysRow, number>({ name: 'node keys', keyEncoding: 'uint32' }),
      metadata: new LmdbMetadata(env.openDB({ name: 'metadata' })),
    }));
    const schema = metadata.get('schema') as number | undefined;
    if (schema !== undefined && schema !== SCHEMA) {
      throw new Failure(`the store ${path} has schema ${schema}; this version of Latchkey reads schema ${SCHEMA}`, {
        advice: `Nothing was changed. Use the version that wrote the store, or move ${path} away: the keys come back from the registry.`,
      });
    }
    const tables = { env, nodeKeys, metadata };
    if (master instanceof Secret) {
      const keyring =
        schema === SCHEMA
          ? Keyring.open(metadata, path, master)
          : await env.childTransaction(() => {
              metadata.putSync('schema', SCHEMA);
              return Keyring.create(metadata, path, master);
            });
      return { ...tables, keyring, isKeyringOwn: true };
    }
    await env.childTransaction(() => {
      metadata.putSync('schema', SCHEMA);
      if (!isOpenedBy(master, metadata)) dropAll({ nodeKeys, metadata, keyring: master });
    });
    return { ...tables, keyring: master, isKeyringOwn: false };
  } catch (error) {
    await env.close();
    throw error instanceof Failure ? error : await writeFailure(path, error);
  }
}

/**
 * Returns whether a borrowed keyring unseals the content of the store, and would seal it in the
 * same way. `own`: the keyring is the store's.
 */
export function sealState({ keyring, metadata, isKeyringOwn }: StoreTables): 'own' | 'current' | 'former' | 'foreign' {
  if (isKeyringOwn) return 'own';
  const check = metadata.get(SEAL_CHECK_KEY) as Uint8Array | undefined;
  if (check === undefined || !isOpenedBy(keyring, metadata)) return 'foreign';
  return keyring.isUnderCurrentKey(check) ? 'current' : 'former';
}

/** Makes the store an empty one of a borrowed keyring, inside a write transaction. */
export function dropAll(tables: Pick<StoreTables, 'nodeKeys' | 'metadata' | 'keyring'>): void {
  tables.nodeKeys.clearSync();
  tables.metadata.putSync(FEED_KEY, toFeedRow({ cursor: FIRST_CURSOR, confirmedAt: undefined }));
  putSealCheck(tables);
}

/** Notes that all is sealed as a borrowed keyring seals it now, inside a write transaction. */
export function putSealCheck({ keyring, metadata }: Pick<StoreTables, 'metadata' | 'keyring'>): void {
  const key = Secret.from(randomBytes(KEY_LENGTH));
  metadata.putSync(SEAL_CHECK_KEY, keyring.seal(SEAL_CHECK, key));
  key.wipe();
}

function isOpenedBy(keyring: Keyring, metadata: LmdbMetadata): boolean {
  const check = metadata.get(SEAL_CHECK_KEY) as Uint8Array | undefined;
  if (check === undefined) return false;
  try {
    keyring.unseal(SEAL_CHECK, check).wipe();
    return true;
  } catch (error) {
    if (error instanceof Failure) return false;
    throw error;
  }
}
