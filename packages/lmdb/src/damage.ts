/**
 * Reports with advice that a store is damaged, or of no use to this process any more, wherever LMDB
 * or the decoder of rows detects it.
 */

import { endDaemon } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import type { Database, Key } from 'lmdb';

/** A store that cannot be read as it was written. */
export class DamagedStore extends Failure {
  /** What is wrong with it, without the name of the store. */
  readonly what: string;

  constructor(file: string, what: string, advice: string, cause?: unknown) {
    super(`the store ${file} is damaged: ${what}`, { advice, cause });
    this.name = 'DamagedStore';
    this.what = what;
  }
}

/** Makes the failures of one store. */
export class StoreFailures {
  readonly #file: string;
  readonly #ifDamaged: string;

  /** @param ifDamaged advice */
  constructor(file: string, ifDamaged: string) {
    this.#file = file;
    this.#ifDamaged = ifDamaged;
  }

  damaged(what: string, cause?: unknown): DamagedStore {
    return new DamagedStore(this.#file, what, this.#ifDamaged, cause);
  }

  /**
   * Returns the failure for an error that says that the store is damaged, or can be used no more. A
   * daemon ends in the latter case: its supervisor starts it again. Returns any other error as it
   * is.
   */
  explain(error: unknown): unknown {
    if (!(error instanceof Error)) return error;
    if ('code' in error && DAMAGE.has(error.code)) return this.damaged('a page is not as it was written', error);
    if (!error.message.includes(PANIC)) return error;
    const failure = new Failure(`the store ${this.#file} can be used no more: the last step of a commit has failed`, {
      advice: 'Check the disk, and start this program again. The store is in order for a process that opens it anew.',
      cause: error,
    });
    endDaemon(failure);
    return failure;
  }
}

/**
 * LMDB's errors for a page beyond the last one, a page of the wrong kind, and a table of another
 * kind.
 */
const DAMAGE: ReadonlySet<unknown> = new Set([-30_797, -30_796, -30_784]);

/**
 * LMDB's name, in a message, of the error of every use of a store after one of its meta pages was
 * not written. lmdb gives it several codes.
 */
const PANIC = 'MDB_PANIC';

/** Parts of lmdb's tables that its types leave out. */
interface Decoder {
  decode: (...args: readonly unknown[]) => unknown;
}
interface Iterable<T> {
  iterate: () => Iterator<T> | number;
}

/** Lets everything that reads or changes a table throw the failures of its store. */
export function guardTable<V, K extends Key>(table: Database<V, K>, failures: StoreFailures): Database<V, K> {
  const guard = <A extends readonly unknown[], R>(call: (...args: A) => R): ((...args: A) => R) =>
    rethrow(call, (error) => failures.explain(error));

  const { decoder } = table as { readonly decoder?: Decoder };
  if (decoder !== undefined)
    decoder.decode = rethrow(decoder.decode.bind(decoder), (error) =>
      failures.damaged('an entry is not as it was written', error),
    );

  const getRange = table.getRange.bind(table);
  return Object.assign(table, {
    // `get`, `getBinary` and `doesExist` call it.
    getBinaryFast: guard(table.getBinaryFast.bind(table)),
    // `getKeys` and `getCount` call it.
    getRange: (...args: Parameters<typeof getRange>) => {
      const range = getRange(...args);
      const source = range as unknown as Iterable<unknown>;
      const iterate = guard(source.iterate);
      source.iterate = () => {
        const entries = iterate();
        return typeof entries === 'number' ? entries : guardIterator(entries, guard);
      };
      return range;
    },
    putSync: guard(table.putSync.bind(table)),
    removeSync: guard(table.removeSync.bind(table)),
    clearSync: guard(table.clearSync.bind(table)),
  });
}

/** A failing iterator releases what it reads, unlike lmdb's own iterator. */
function guardIterator<T>(entries: Iterator<T>, guard: (next: () => IteratorResult<T>) => () => IteratorResult<T>): Iterator<T> {
  const next = guard(() => entries.next());
  return {
    next() {
      try {
        return next();
      } catch (error) {
        entries.return?.();
        throw error;
      }
    },
    return: () => entries.return?.() ?? { done: true, value: undefined },
  };
}

function rethrow<A extends readonly unknown[], R>(call: (...args: A) => R, as: (error: unknown) => unknown): (...args: A) => R {
  return (...args) => {
    try {
      return call(...args);
    } catch (error) {
      throw as(error);
    }
  };
}
