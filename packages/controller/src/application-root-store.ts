/**
 * The application roots of the nodes that joined through this controller, from which application
 * keys are derived; sealed under the store's master key. No PSK is stored: nothing in here opens a
 * message of the protocol.
 */

import { readdir, rename, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { JoinResult, Secret } from '@latchkey/protocol';
import { Histogram } from '@latchkey/runtime/telemetry';
import { Failure, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import type { Log } from '@latchkey/runtime/daemon';
import { syncFolderOf } from '@latchkey/runtime/files';
import { Keyring, LmdbMetadata, type NextMasterKey, KEY_KIND, rotate, announceAdoption } from '@latchkey/keyring';
import { DamagedStore, countEntries, openStore, rewrapTable, writeFailure } from '@latchkey/lmdb';
import type { Database, RootDatabase } from 'lmdb';

/** Version of the tables. */
const SCHEMA = 1;

interface Row {
  /** AR_i, sealed. */
  applicationRoot: Uint8Array;
  /** KID, 8 hex digits: which generation of the node's key it comes from. */
  keyId: string;
  tid: string;
  ts: number;
  nidI: Uint8Array;
  lifetime: number;
}

/**
 * How long keys are gathered before they are written together, in ms: a transaction takes longer
 * than all else that a key does.
 */
const BATCH_DELAY_MS = 50;
/**
 * Keys that wait for the disk, as many as there are transactions open by default: one that hangs is
 * not to cost the controller its memory.
 */
const MAX_QUEUED = 16_384;
/** Advice for a command: the controller itself puts a damaged store aside. */
const IF_DAMAGED = 'Start the controller: it puts the store aside, and has the key of a node again once that has renewed it.';
/** In the name of a store that was put aside, before the time. */
const DAMAGED = '-damaged-';

/** What is written together. */
interface WriteBatch {
  readonly joins: { readonly joined: JoinResult; readonly since: number }[];
  readonly written: Promise<void>;
}

export interface StoredApplicationRoot extends Omit<JoinResult, 'idI' | 'ts'> {
  /** ms since the epoch. */
  readonly ts: number;
}

export class ApplicationRootStore {
  readonly #path: string;
  readonly #env: RootDatabase;
  readonly #applicationRoots: Database<Row, number>;
  readonly #metadata: LmdbMetadata;
  readonly keyring: Keyring;
  #batch: WriteBatch | undefined;
  #queued = 0;
  /** What is gathered and what is being written. */
  readonly #pendingWrites = new Set<Promise<void>>();
  /** Keys that the disk did not take, by ID_i. */
  readonly #unwritten = new Map<number, JoinResult>();
  /** How long `put` took. */
  readonly putDurations: Histogram = new Histogram();

  private constructor(
    path: string,
    env: RootDatabase,
    applicationRoots: Database<Row, number>,
    metadata: LmdbMetadata,
    keyring: Keyring,
  ) {
    this.#path = path;
    this.#env = env;
    this.#applicationRoots = applicationRoots;
    this.#metadata = metadata;
    this.keyring = keyring;
  }

  /**
   * Opens the store for the controller. A damaged store is put aside, and a new one takes its
   * place: no join needs the keys, and each comes back as its node renews it.
   */
  static async openOrReplace(path: string, master: Secret, log: Log): Promise<ApplicationRootStore> {
    try {
      return await ApplicationRootStore.open(path, master);
    } catch (error) {
      if (!(error instanceof DamagedStore)) throw error;
      await putAside(path, error, log);
      return ApplicationRootStore.open(path, master);
    }
  }

  /** Opens the store, or makes one. */
  static async open(path: string, master: Secret): Promise<ApplicationRootStore> {
    const env = await openStore(path, { maxDbs: 4, ifDamaged: IF_DAMAGED });
    try {
      const applicationRoots = env.openDB<Row, number>({ name: 'applicationRoots', keyEncoding: 'uint32' });
      const metadata = new LmdbMetadata(env.openDB({ name: 'metadata' }));
      const schema = metadata.get('schema') as number | undefined;
      if (schema !== undefined && schema !== SCHEMA) {
        throw new Failure(`the store ${path} has schema ${schema}; this version of Latchkey reads schema ${SCHEMA}`, {
          advice: `Nothing was changed. Use the version that wrote the store, or move ${path} away: each node's key comes back when the node renews it.`,
        });
      }
      const keyring =
        schema === SCHEMA
          ? Keyring.open(metadata, path, master)
          : await env.childTransaction(() => {
              metadata.putSync('schema', SCHEMA);
              return Keyring.create(metadata, path, master);
            });
      return new ApplicationRootStore(path, env, applicationRoots, metadata, keyring);
    } catch (error) {
      await env.close();
      throw error instanceof Failure ? error : await writeFailure(path, error);
    }
  }

  /**
   * Keeps the application root of a newer transaction; resolves when the disk has it. It is the
   * caller's, and is to be there until then. All that is put within 50 ms is written together.
   * Rejects with a Failure where the disk does not take it, for `writeAgain`, or hangs with 16,384
   * keys before it.
   */
  put(joined: JoinResult): Promise<void> {
    if (this.#queued >= MAX_QUEUED) {
      const message = `cannot write to the store ${this.#path}: ${MAX_QUEUED} keys wait for the disk`;
      return Promise.reject(new Failure(message, { advice: 'Check the disk.' }));
    }
    this.#queued += 1;
    this.#batch ??= this.#startBatch();
    const { joins, written } = this.#batch;
    joins.push({ joined, since: performance.now() });
    return written;
  }

  /** Resolves when all that was put so far is written, or could not be. */
  async flushed(): Promise<void> {
    await Promise.allSettled(this.#pendingWrites);
  }

  #startBatch(): WriteBatch {
    const joins: WriteBatch['joins'] = [];
    const write = async (): Promise<void> => {
      await pause(BATCH_DELAY_MS);
      this.#batch = undefined;
      try {
        await this.#write(() => {
          for (const { joined } of joins) this.#putSync(joined);
        });
        for (const { since } of joins) this.putDurations.observeSince(since);
      } catch (error) {
        for (const { joined } of joins) this.#remember({ ...joined, applicationRoot: joined.applicationRoot.copy() });
        throw error;
      } finally {
        this.#queued -= joins.length;
        this.#pendingWrites.delete(written);
      }
    };
    const written = write();
    this.#pendingWrites.add(written);
    return { joins, written };
  }

  /** Takes over the key of `joined`; wipes it if there is a newer one, or no room. */
  #remember(joined: JoinResult): void {
    const before = this.#unwritten.get(joined.idI);
    const kept = before === undefined ? this.#unwritten.size < MAX_QUEUED : before.tid < joined.tid;
    if (!kept) return joined.applicationRoot.wipe();
    before?.applicationRoot.wipe();
    this.#unwritten.set(joined.idI, joined);
  }

  /**
   * Writes the keys that the disk did not take before. Returns how many; rejects with a Failure if
   * it takes none.
   */
  async writeAgain(): Promise<number> {
    if (this.#unwritten.size === 0) return 0;
    const due = [...this.#unwritten.values()];
    this.#unwritten.clear();
    try {
      await this.#write(() => {
        for (const joined of due) this.#putSync(joined);
      });
    } catch (error) {
      for (const joined of due) this.#remember(joined);
      throw error;
    }
    for (const { applicationRoot } of due) applicationRoot.wipe();
    return due.length;
  }

  #putSync({ idI, tid, ts, nidI, applicationRoot, keyId, lifetime }: JoinResult): void {
    const existing = this.#applicationRoots.get(idI);
    if (existing !== undefined && BigInt(`0x${existing.tid}`) >= tid) return;
    const sealed = this.keyring.seal({ kind: KEY_KIND.applicationRoot, id: idI }, applicationRoot);
    this.#applicationRoots.putSync(idI, {
      applicationRoot: sealed,
      keyId,
      tid: tid.toString(16),
      ts: Number(ts),
      nidI,
      lifetime,
    });
  }

  /** How many nodes it has the key of. */
  get size(): number {
    return countEntries(this.#applicationRoots);
  }

  get(idI: number): StoredApplicationRoot | undefined {
    this.#env.resetReadTxn();
    const row = this.#applicationRoots.get(idI);
    if (row === undefined) return undefined;
    const applicationRoot = this.keyring.unseal({ kind: KEY_KIND.applicationRoot, id: idI }, row.applicationRoot);
    return { ...row, applicationRoot, tid: BigInt(`0x${row.tid}`) };
  }

  /**
   * Seals every key anew under the next master key, while the controller serves.
   *
   * @param folder whose lock the controller holds
   * @returns how many keys there are
   */
  async rotate(folder: string, next: NextMasterKey): Promise<number> {
    const keyring = this.keyring;
    let done = 0;
    await rotate({
      folder,
      metadata: this.#metadata,
      keyring,
      next,
      write: (action) => this.#write(action),
      refreshSnapshot: () => this.#env.resetReadTxn(),
      rewrapAll: () =>
        rewrapTable(
          this.#applicationRoots,
          (action) => this.#write(action),
          (id, row) => {
            if (keyring.isUnderCurrentKey(row.applicationRoot)) return undefined;
            const context = { kind: KEY_KIND.applicationRoot, id };
            return { ...row, applicationRoot: keyring.rewrap(context, row.applicationRoot) };
          },
          (rows) => {
            done += rows;
          },
        ),
    });
    return done;
  }

  /** Resolves when the disk has taken a write. Throws a Failure where it does not. */
  async probe(wallMs: number): Promise<void> {
    await this.#write(() => this.#metadata.putSync('probe', wallMs));
  }

  /**
   * Tells `rotate` in another process that this one serves, and under which master key; again
   * whenever that changed.
   */
  async announceAdoption(): Promise<void> {
    this.#env.resetReadTxn();
    await announceAdoption(this.#metadata, this.keyring, (action) => this.#write(action));
  }

  async close(): Promise<void> {
    await this.#env.close();
    this.keyring.wipe();
    for (const { applicationRoot } of this.#unwritten.values()) applicationRoot.wipe();
  }

  async #write<T>(action: () => T): Promise<T> {
    try {
      return await this.#env.childTransaction(() => {
        this.keyring.reload();
        return action();
      });
    } catch (error) {
      throw error instanceof Failure ? error : await writeFailure(this.#path, error);
    }
  }
}

/** What to say of a store of keys from before there were application roots. */
export function holdsPsks(path: string): UsageFailure {
  return new UsageFailure(`${path} holds PSKs of nodes, which a controller no longer keeps`, {
    advice:
      'Remove it, with no controller running on it. Nodes join as before, and `key` has the key of each once it has renewed it.',
    run: [['rm', '-r', path]],
  });
}

/** Renames the folder of a damaged store, and removes one that was put aside before. */
async function putAside(path: string, damage: DamagedStore, log: Log): Promise<void> {
  const aside = `${path}${DAMAGED}${new Date().toISOString().replaceAll(':', '')}`;
  try {
    const earlier = (await readdir(dirname(path))).filter((name) => name.startsWith(`${basename(path)}${DAMAGED}`));
    await rename(path, aside);
    await syncFolderOf(path);
    for (const name of earlier) await rm(join(dirname(path), name), { recursive: true });
  } catch (error) {
    throw systemFailure(`cannot put the store ${path} aside`, error);
  }
  log.error(
    { aside, advice: 'Check the disk. Nodes join as before; `key` has the key of a node again once that has renewed it.' },
    `${damage.message}; it was put aside`,
  );
}
