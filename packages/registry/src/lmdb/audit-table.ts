/**
 * The audit log in LMDB: an entry is written in the same transaction as the change that it records,
 * so that neither is there without the other.
 */

import { countEntries, rawValueEquals, readRawValue, scanTable, scanTableBackwards } from '@latchkey/lmdb';
import type { Database, RangeOptions, Transaction } from 'lmdb';
import {
  type Actor,
  type AuditEvent,
  chainEntry,
  type ChainHead,
  EMPTY_CHAIN,
  hashOfEntry,
  type StoredChain,
} from '../audit-chain.js';
import type { AuditTable, Entry } from '../audit-log.js';

const HEAD_KEY = 'audit head';
/** Entries per page of a walk. */
const PAGE_SIZE = 256;
/** Start of a pruned log: the last pruned entry. */
const START_KEY = 'audit start';

export class LmdbAuditTable implements AuditTable {
  readonly #entries: Database<Buffer, number>;
  readonly #metadata: Database<unknown, string>;
  readonly #actor: Actor;
  /** The last row that was written here: as long as the store has it, it need not be decoded. */
  #lastWritten: { readonly octets: Buffer; readonly head: ChainHead } | undefined;

  constructor(entries: Database<Buffer, number>, metadata: Database<unknown, string>, actor: Actor) {
    this.#entries = entries;
    this.#metadata = metadata;
    this.#actor = actor;
  }

  /**
   * Inside the write transaction that makes the change. Gives the entry's number. `at`: ms since
   * the epoch.
   */
  append(event: AuditEvent, at: number, actor: Actor = this.#actor): number {
    const { octets, head } = chainEntry(this.head, event, actor, at);
    this.#entries.putSync(head.seq, octets);
    this.#metadata.putSync(HEAD_KEY, head);
    const written = readRawValue(this.#metadata, HEAD_KEY);
    this.#lastWritten = written && { octets: written, head };
    return head.seq;
  }

  get start(): ChainHead {
    return (this.#metadata.get(START_KEY) as ChainHead | undefined) ?? EMPTY_CHAIN;
  }

  get head(): ChainHead {
    if (this.#lastWritten !== undefined && rawValueEquals(this.#metadata, HEAD_KEY, this.#lastWritten.octets))
      return this.#lastWritten.head;
    return (this.#metadata.get(HEAD_KEY) as ChainHead | undefined) ?? EMPTY_CHAIN;
  }

  get length(): number {
    return countEntries(this.#entries);
  }

  get(seq: number): Buffer | undefined {
    return this.#entries.get(seq);
  }

  *ascending(from: number): Generator<Entry> {
    for (const { key, value } of scanTable(this.#entries, from)) yield [key, value];
  }

  *descending(from?: number): Generator<Entry> {
    for (const { key, value } of scanTableBackwards(this.#entries, from)) yield [key, value];
  }

  /** As it is when each part is read: a pruning takes entries away, and commands write more. */
  chain(): StoredChain {
    const startOf = (): ChainHead => this.start;
    const headOf = (): ChainHead => this.head;
    return {
      get start() {
        return startOf();
      },
      get head() {
        return headOf();
      },
      entries: this.#everything(),
    };
  }

  /** Ends when the store has no more as of then, and not when a page was not full. */
  *#everything(): Generator<Entry> {
    let page = Array.from(this.#entries.getRange({ limit: PAGE_SIZE }));
    for (let last = page.at(-1); last !== undefined; last = page.at(-1)) {
      for (const { key, value } of page) yield [key, value];
      page = Array.from(this.#entries.getRange({ start: last.key, exclusiveStart: true, limit: PAGE_SIZE }));
    }
  }

  /** At most `limit` entries after place `after`. */
  page(after: number | undefined, options: RangeOptions): Entry[] {
    const range = after === undefined ? options : { ...options, start: after, exclusiveStart: true };
    return Array.from(this.#entries.getRange(range), ({ key, value }) => [key, value] as const);
  }

  /** Both ends of the chain. */
  endsIn(transaction: Transaction): { readonly start: ChainHead; readonly head: ChainHead } {
    const end = (key: string): ChainHead => (this.#metadata.get(key, { transaction }) as ChainHead | undefined) ?? EMPTY_CHAIN;
    return { start: end(START_KEY), head: end(HEAD_KEY) };
  }

  /** Inside the write transaction that fills an empty store. */
  put(seq: number, octets: Buffer): void {
    this.#entries.putSync(seq, octets);
  }

  /** Inside the write transaction that fills an empty store. */
  putEnds(start: ChainHead, head: ChainHead): void {
    if (start.seq > 0) this.#metadata.putSync(START_KEY, start);
    if (head.seq > 0) this.#metadata.putSync(HEAD_KEY, head);
  }

  /**
   * Inside a write transaction: removes up to `limit` of the first entries, none after `last`.
   * Returns their number.
   */
  remove(last: number, limit: number): number {
    const keys = Array.from(this.#entries.getKeys({ end: last + 1, limit }));
    // A key that was inserted by other means is no start of the log.
    const seq = keys.findLast((key) => Number.isInteger(key));
    const octets = seq === undefined ? undefined : this.#entries.get(seq);
    if (seq !== undefined && octets !== undefined)
      this.#metadata.putSync(START_KEY, { seq, hash: hashOfEntry(octets), at: 0 } satisfies ChainHead);
    for (const key of keys) this.#entries.removeSync(key);
    return keys.length;
  }
}
