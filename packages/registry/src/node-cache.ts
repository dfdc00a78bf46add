/**
 * Cache of nodes that an M2 looked up, with unsealed keys, until their M7 arrives. Unsealing a key
 * takes as long as the rest of a look-up, and a look-up in a database takes a round trip. An entry
 * is valid while the row of the node has the same version. The cache is optional: a replica that
 * never saw the M2 looks the node up.
 */

import { BoxedMap } from '@latchkey/runtime/daemon';
import type { Secret } from '@latchkey/protocol';
import type { UnsealedNode } from './model/rows.js';
import type { Version } from './storage.js';

/** At the bound the oldest is evicted. */
const MAX_ENTRIES = 1_024;
/** An M7 that comes later than this after its M2 is one of a slow node, in ms. */
const TTL_MS = 5_000;

interface CacheEntry {
  /** As it was looked up; its key is the caller's. */
  readonly node: UnsealedNode;
  readonly key: Secret;
  readonly cachedAt: number;
}

export class NodeCache {
  readonly #entries = new BoxedMap<number, CacheEntry>();
  #sweepTimer: NodeJS.Timeout | undefined;

  /** Keeps a copy of the key. */
  put(node: UnsealedNode): void {
    const { idI } = node;
    this.delete(idI);
    if (this.#entries.size >= MAX_ENTRIES) {
      const [oldest] = this.#entries.keys();
      if (oldest !== undefined) this.delete(oldest);
    }
    this.#entries.set(idI, { node, key: node.key.copy(), cachedAt: performance.now() });
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
    if (entry.node.stored.version === version) return entry.key;
    entry.key.wipe();
    return undefined;
  }

  /** The node as it was when it was kept, once: its key is the caller's from here on. */
  takeNode(idI: number): UnsealedNode | undefined {
    const entry = this.#entries.get(idI);
    if (entry === undefined) return undefined;
    this.#entries.delete(idI);
    const { node, key } = entry;
    return { ...node, key, stored: { ...node.stored, key }, isKept: true };
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
