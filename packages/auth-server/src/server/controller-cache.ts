/**
 * Cache of controllers with unsealed keys. Every request needs SK_cs, and unsealing it costs as
 * much as decrypting the request. An entry is valid while the stored row is unchanged. The keys are
 * in memory, as the master key that unseals them is. A replaced key is wiped when the last request
 * that uses it finishes, whatever later requests do.
 */

import {
  type Registry,
  type ControllerRecord,
  type ControllerRow,
  type Version,
  type Versioned,
  wipeKeys,
} from '@latchkey/registry';

/** At the bound all go. */
const MAX_ENTRIES = 256;

interface CacheEntry {
  readonly version: Version;
  readonly record: ControllerRecord;
  /** Requests that use it now. */
  useCount: number;
  /** Handed to no further request: wiped when the last of those is done. */
  evicted: boolean;
}

export class ControllerCache {
  readonly #registry: Registry;
  readonly #entries = new Map<number, CacheEntry>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /**
   * Hands `use` the controller as it is now, and the version of its row. Its keys are not to be
   * kept beyond that.
   */
  async use<T>(
    idC: number,
    use: (controller: ControllerRecord | undefined, version: Version | undefined) => Promise<T> | T,
  ): Promise<T> {
    const found = this.#registry.readController(idC);
    // A synchronous engine costs no turn of the event loop.
    const entry = this.#entryOf(idC, found instanceof Promise ? await found : found);
    return entry === undefined ? use(undefined, undefined) : lend(entry, use);
  }

  /**
   * Hands `use` the controller as it was last read; resolves to `undefined` if it was not read yet.
   * It may be another by now: nothing is answered under its keys before its row was seen to have
   * this version still.
   */
  useKept<T>(
    idC: number,
    use: (controller: ControllerRecord, version: Version) => Promise<T | undefined>,
  ): Promise<T | undefined> {
    const entry = this.#entries.get(idC);
    return entry === undefined ? Promise.resolve(undefined) : lend(entry, use);
  }

  /** Wipes each of them, once nothing uses it any more. */
  close(): void {
    for (const kept of this.#entries.values()) evict(kept);
    this.#entries.clear();
  }

  #entryOf(idC: number, found: Versioned<ControllerRow> | undefined): CacheEntry | undefined {
    const cached = this.#entries.get(idC);
    if (cached !== undefined) {
      if (cached.version === found?.version) return cached;
      this.#entries.delete(idC);
      evict(cached);
    }
    if (found === undefined) return undefined;
    if (this.#entries.size >= MAX_ENTRIES) this.close();
    const { row, version } = found;
    const entry = { version, record: this.#registry.unsealController(idC, row), useCount: 0, evicted: false };
    this.#entries.set(idC, entry);
    return entry;
  }
}

async function lend<T>(entry: CacheEntry, use: (controller: ControllerRecord, version: Version) => Promise<T> | T): Promise<T> {
  entry.useCount += 1;
  try {
    return await use(entry.record, entry.version);
  } finally {
    entry.useCount -= 1;
    if (entry.evicted && entry.useCount === 0) wipeKeys(entry.record);
  }
}

function evict(entry: CacheEntry): void {
  entry.evicted = true;
  if (entry.useCount === 0) wipeKeys(entry.record);
}
