/**
 * An LMDB store of the API, next to the registry. No backup of the registry has its content. The
 * API and commands open it concurrently.
 */

import { join } from 'node:path';
import { openStore, writeFailure } from '@latchkey/lmdb';
import { Failure } from '@latchkey/runtime/failure';
import type { Database, RootDatabase } from 'lmdb';
import { Problem } from './problem.js';

/** Of one store, `metadata` included. */
const MAX_TABLES = 8;

type OpenTable = <V>(name: string) => Database<V, string>;

interface OwnStoreOptions<Tables> {
  /** Its folder, in that of the registry. */
  readonly name: string;
  /** Version of the tables' content. */
  readonly schema: number;
  /** Opens every table. */
  readonly tables: (open: OpenTable) => Tables;
  /** What to do if the store is moved away: completes a sentence. */
  readonly thenMake: string;
}

export class OwnStore {
  readonly #path: string;
  readonly #env: RootDatabase;

  private constructor(path: string, env: RootDatabase) {
    this.#path = path;
    this.#env = env;
  }

  /** @param folder of the registry */
  static async open<Tables>(
    folder: string,
    { name, schema, tables: openAll, thenMake }: OwnStoreOptions<Tables>,
  ): Promise<{ readonly store: OwnStore; readonly tables: Tables }> {
    const path = join(folder, name);
    const env = await openStore(path, {
      maxDbs: MAX_TABLES,
      ifDamaged: `Nothing was changed. Move ${path} away, and ${thenMake}.`,
    });
    try {
      const open: OpenTable = <V>(table: string) => env.openDB<V, string>({ name: table });
      const { metadata, tables } = await env.openTables(() => ({ metadata: open<unknown>('metadata'), tables: openAll(open) }));
      const found = metadata.get('schema');
      if (found === undefined) await env.childTransaction(() => metadata.putSync('schema', schema));
      else if (found !== schema)
        throw new Failure(`the store ${path} has another schema; this version of Latchkey reads schema ${schema}`, {
          advice: `Nothing was changed. Use the version that wrote the store, or move it away and ${thenMake}.`,
        });
      return { store: new OwnStore(path, env), tables };
    } catch (error) {
      await env.close();
      throw error instanceof Failure ? error : await writeFailure(path, error);
    }
  }

  /** Sees what another process wrote before. */
  read<T>(action: () => T): T {
    this.#env.resetReadTxn();
    return action();
  }

  /** One transaction: on the disk before it returns. An error of `action` undoes all of it. */
  async write<T>(action: () => T): Promise<T> {
    try {
      return await this.#env.childTransaction(action);
    } catch (error) {
      if (error instanceof Failure || error instanceof Problem) throw error;
      throw await writeFailure(this.#path, error);
    }
  }

  close(): Promise<void> {
    return this.#env.close();
  }
}
