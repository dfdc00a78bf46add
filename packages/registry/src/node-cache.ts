/**
 * Nodes that were looked up for an M2, with their keys open, until their M7 comes: to open a key
 * takes as long as all else that a look-up does. What is kept is good as long as the row of the
 * node has the same version. Nothing depends on it: a replica that never saw the M2 opens the row.
 */

import { BoxedMap } from '@latchkey/runtime/daemon';
import type { Secret } from '@latchkey/protocol';
import type { UnsealedRow } from './model/rows.js';
import type { Version } from './storage.js';

/** At the bound the oldest goes. */
const MAX_ENTRIES = 1_024;
/** An M7 that comes later than this after its M2 is one of a slow node, in ms. */
const TTL_MS = 5_000;

interface CacheEntry {
  readonly version: Version;
  readonly key: Secret;
  readonly cachedAt: number;
}

export class NodeCache {
  readonly #entries = new BoxedMap<number, CacheEntry>();
  #sweepTimer: NodeJS.Timeout | undefined;

  /** Keeps a copy of the key. */
  put(idI: number, { version, key }: Pick<UnsealedRow, 'version' | 'key'>): void {
    this.delete(idI);
    if (this.#entries.size >= MAX_ENTRIES) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.delete(oldest);
    }
    this.#entries.set(idI, { version, key: key.copy(), cachedAt: performance.now() });
    this.#sweepTimer ??= setInterval(() => this.#evictExpired(), TTL_MS).unref();
  }

  /**
   * The key that was kept, once: it is the caller's from here on. `undefined` unless the row has
   * this version.
   */
  take(idI: number, version: Version): Secret | undefined {
    const entry = this.#entries.get(idI);
    if (entry === undefined) return undefined;
    this.#entries.delete(idI);
    if (entry.version === version) return entry.key;
    entry.key.wipe();
    return undefined;
  }

  delete(idI: number): void {
    this.#entries.get(idI)?.key.wipe();
    this.#entries.delete(idI);
  }

  close(): void {
    clearInterval(this.#sweepTimer);
    for (const { key } of this.#entries.values()) key.wipe();
    this.#entries.clear();
  }

  #evictExpired(): void {
    const now = performance.now();
    for (const [idI, { cachedAt }] of this.#entries) if (now - cachedAt >= TTL_MS) this.delete(idI);
    if (this.#entries.size > 0) return;
    clearInterval(this.#sweepTimer);
    this.#sweepTimer = undefined;
  }
}
