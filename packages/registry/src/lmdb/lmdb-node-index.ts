/**
 * Lists and counts the nodes in LMDB, from an index in memory. Only a process that lists or counts
 * has one. It is built from the tables at the first request or before, and updated from the audit
 * log. A join therefore costs nothing extra. Each answer includes all writes before the request.
 */

import { join } from 'node:path';
import { setImmediate as yieldToOthers, setTimeout as pause } from 'node:timers/promises';
import { countEntries, scanTable } from '@latchkey/lmdb';
import { parseId } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { type AuditAction, hashOfEntry, parseEntry } from '../audit-chain.js';
import type { ExpiryCounts, NodeCounts, NodeFilter, NodeGroups, NodeListPage, NodeListQuery } from '../model/node-query.js';
import type { NodeDescription } from '../model/rows.js';
import { NodeIndex } from '../node-index/node-index.js';
import { readSavedIndex, writeSavedIndex } from './saved-node-index.js';
import type { Tables } from './tables.js';

/** Work at a time, in ms: others are served in between. */
const TIME_SLICE_MS = 5;
/** The pause after it in a process that only counts, in ms: a tenth of one core at most. */
const COUNTING_PAUSE_MS = 45;
/** Entries of the audit log per step: their nodes are read together. */
const ENTRIES_PER_STEP = 1_024;

/** In the folder of the store. */
const FILE = 'node-index';
/** An index of fewer nodes is made faster than it is read. */
const MIN_SAVED = 4_096;

const PUBLISHES: ReadonlySet<AuditAction> = new Set<AuditAction>(['order created', 'nodes imported']);

export class LmdbNodeIndex {
  readonly #tables: Tables;
  #index: NodeIndex | undefined;
  /** The last entry of the audit log that is in the index. */
  #position = 0;
  #updating: Promise<NodeIndex> | undefined;
  /** The last entry that is in the file. */
  #saved = 0;
  #saving: Promise<void> | undefined;
  #isClosed = false;
  #onlyCounts = false;

  constructor(tables: Tables) {
    this.#tables = tables;
  }

  async list(query: NodeListQuery): Promise<NodeListPage> {
    return (await this.#current()).list(query);
  }

  async counts<G extends keyof NodeGroups>(filter: NodeFilter, now: number, by: G): Promise<NodeCounts<G>> {
    return (await this.#current()).counts(filter, now, by);
  }

  async expiries(filter: NodeFilter, now: number, edges: readonly number[]): Promise<ExpiryCounts> {
    return (await this.#current()).expiries(filter, now, edges);
  }

  /**
   * Reduces the index for a process that answers nodes. The index then has no texts, is built in
   * small slices with pauses, and is neither loaded from the file nor saved. Loading the file would
   * briefly take twice its size. A search returns the same result, in more time.
   */
  onlyCount(): void {
    this.#onlyCounts = true;
  }

  /** Builds the index before the first request. A request during that time waits for it. */
  async prepare(): Promise<void> {
    await this.#current();
  }

  /** Applies entries that were written since. Does nothing before the first request. */
  async keepCurrent(): Promise<void> {
    if (this.#index === undefined) return;
    await this.#current();
    this.#save();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#updating?.catch(() => undefined);
    this.#save();
    await this.#saving;
    this.#index = undefined;
  }

  /** Returns the index with all writes before the call. A running update ends after that point. */
  #current(): Promise<NodeIndex> {
    this.#updating ??= this.#update().catch((error: unknown) => {
      // Half of an update may be in it.
      this.#index = undefined;
      this.#updating = undefined;
      throw error;
    });
    return this.#updating;
  }

  async #update(): Promise<NodeIndex> {
    // It may end without waiting for anything, and not before `#updating` is set.
    await Promise.resolve();
    if (this.#index === undefined && !this.#onlyCounts) await this.#restore();
    this.#requireOpen();
    let sliceEnd = performance.now() + TIME_SLICE_MS;
    for (const isCurrent of this.#steps()) {
      if (isCurrent) break;
      if (performance.now() < sliceEnd) continue;
      await (this.#onlyCounts ? pause(COUNTING_PAUSE_MS) : yieldToOthers());
      this.#requireOpen();
      sliceEnd = performance.now() + TIME_SLICE_MS;
    }
    if (this.#saved === -Infinity) this.#save();
    // Reset in the turn in which the last entry was read, so that a later request begins an update.
    this.#updating = undefined;
    return this.#made;
  }

  #requireOpen(): void {
    if (this.#isClosed) throw new Failure('the registry was closed');
  }

  /** True if the index can continue with the following entries, and they are not too many. */
  get #isFollowing(): boolean {
    const { start, head } = this.#tables.audit;
    if (this.#index === undefined || this.#index.isWorn || start.seq > this.#position) return false;
    return head.seq - this.#position <= Math.max(2 * this.#index.length, ENTRIES_PER_STEP);
  }

  /** Loads the saved index, if it belongs to this registry. */
  async #restore(): Promise<void> {
    const found = await readSavedIndex(this.#path);
    if (found === undefined || this.#isClosed) return;
    const { seq, hash } = found.position;
    this.#tables.refreshSnapshot();
    const entry = this.#tables.audit.get(seq);
    if (entry === undefined || Buffer.compare(hashOfEntry(entry), hash) !== 0) return;
    const { nodeDescriptions } = this.#tables;
    this.#index = new NodeIndex((idI) => nodeDescriptions.get(idI), found.index);
    this.#position = this.#saved = seq;
  }

  /** Saves the index if that would save the next process much of its work. */
  #save(): void {
    if (this.#onlyCounts || this.#index === undefined || this.#saving !== undefined || this.#index.length < MIN_SAVED) return;
    if (this.#position - this.#saved < this.#index.length / 8) return;
    const entry = this.#tables.audit.get(this.#position);
    if (entry === undefined) return;
    this.#saved = this.#position;
    const position = { seq: this.#position, hash: Buffer.from(hashOfEntry(entry)) };
    this.#saving = writeSavedIndex(this.#path, position, this.#index.saved).finally(() => (this.#saving = undefined));
  }

  get #path(): string {
    return join(this.#tables.storeFolder, FILE);
  }

  get #made(): NodeIndex {
    if (this.#index === undefined) throw new TypeError('the index of nodes is not made');
    return this.#index;
  }

  /** Yields whether the index has all that is written: after some milliseconds at most. */
  *#steps(): Generator<boolean> {
    const { audit } = this.#tables;
    for (;;) {
      this.#tables.refreshSnapshot();
      // Pruned entries cannot be applied, so the index is rebuilt.
      if (!this.#isFollowing) yield* this.#make();
      if (this.#position >= audit.head.seq) {
        this.#made.settle();
        yield true;
      }
      yield* this.#takeIn();
    }
  }

  *#make(): Generator<false> {
    const { orders, nodes, nodeDescriptions, audit } = this.#tables;
    // What is written from here on is in entries after this one.
    const position = audit.head.seq;
    // Not two of them in memory.
    this.#index = undefined;
    const index = new NodeIndex((idI) => nodeDescriptions.get(idI), undefined, this.#onlyCounts ? 0 : undefined);
    for (const { key, value } of scanTable(orders, 0)) {
      index.putOrder(key, value);
      yield false;
    }
    const descriptionOf = ascendingLookup(countEntries(nodeDescriptions) === 0 ? [] : scanTable(nodeDescriptions, 0));
    for (const { key, value } of scanTable(nodes, 0)) {
      // The nodes of an order appear with its entry.
      if (index.isPublished(value.order)) index.put(key, value, descriptionOf(key));
      yield false;
    }
    [this.#index, this.#position, this.#saved] = [index, position, -Infinity];
  }

  /** Takes in the next entries: each node that they name, as it is now. */
  *#takeIn(): Generator<false> {
    const { audit, nodes, nodeDescriptions } = this.#tables;
    const index = this.#made;
    const last = Math.min(audit.head.seq, this.#position + ENTRIES_PER_STEP);
    const [changed, orders, published] = [new Set<number>(), new Set<number>(), new Set<number>()];
    for (let seq = this.#position + 1; seq <= last; seq++) {
      const entry = parsedEntry(audit.get(seq));
      const idI = entry?.node === undefined ? undefined : parseId(entry.node);
      if (idI !== undefined) changed.add(idI);
      if (entry?.order === undefined) continue;
      orders.add(entry.order);
      if (PUBLISHES.has(entry.what)) published.add(entry.order);
    }
    for (const number of orders) yield* this.#takeInOrder(number, published.has(number));
    for (const idI of changed) {
      const row = nodes.get(idI);
      if (row === undefined) index.remove(idI);
      else index.put(idI, row, nodeDescriptions.get(idI));
      yield false;
    }
    this.#position = last;
  }

  *#takeInOrder(number: number, isNew: boolean): Generator<false> {
    const { orders, nodes, nodeDescriptions, assignments } = this.#tables;
    const index = this.#made;
    const wasPublished = index.isPublished(number);
    index.putOrder(number, orders.get(number));
    if (!index.isPublished(number) || (wasPublished && !isNew)) return;
    for (const idI of assignments.nodesOfOrder(number)) {
      const row = nodes.get(idI);
      if (row !== undefined) index.put(idI, row, nodeDescriptions.get(idI));
      yield false;
    }
  }
}

function parsedEntry(octets: Buffer | undefined): ReturnType<typeof parseEntry> {
  return octets && parseEntry(octets);
}

/** Finds descriptions by IDs that only ascend: both tables are gone through side by side. */
function ascendingLookup(
  rows: Iterable<{ readonly key: number; readonly value: NodeDescription }>,
): (idI: number) => NodeDescription | undefined {
  const descriptions = rows[Symbol.iterator]();
  let next = descriptions.next();
  return (idI) => {
    while (next.done !== true && next.value.key < idI) next = descriptions.next();
    return next.done !== true && next.value.key === idI ? next.value.value : undefined;
  };
}
