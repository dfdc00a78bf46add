/** The audit log as commands and the API read it. */

import {
  type AuditEntry,
  type ChainHead,
  type Head,
  hashOfEntry,
  headOf,
  parseEntry,
  type StoredChain,
  verifyChain,
} from './audit-chain.js';
import { betweenPages, inPages, type Listed } from './listing.js';

export type Entry = readonly [seq: number, octets: Buffer];

/** Storage of an engine for the entries of the audit log. */
export interface AuditTable {
  /** The last entry that was taken out, or that of an empty chain. */
  readonly start: ChainHead | Promise<ChainHead>;
  /** The last entry that was written, or that of an empty chain. */
  readonly head: ChainHead | Promise<ChainHead>;
  /** How many entries there are. */
  readonly length: number | Promise<number>;
  get(seq: number): Buffer | undefined | Promise<Buffer | undefined>;
  /**
   * Iterates from entry `from` on, including entries written during the walk. No read stays open
   * between pages.
   */
  ascending(from: number): Listed<Entry>;
  /** From place `from` on; without it, from the last one. */
  descending(from?: number): Listed<Entry>;
  /** Reads all entries that exist, whatever else was inserted. No read stays open between pages. */
  chain(): StoredChain | Promise<StoredChain>;
}

/** Entries per page of a walk. */
const PAGE_SIZE = 256;

export class AuditLog {
  readonly #storage: { readonly audit: AuditTable };
  readonly #signal: AbortSignal | undefined;

  /** @param signal ends walks, between two pages */
  constructor(storage: { readonly audit: AuditTable }, signal?: AbortSignal) {
    this.#storage = storage;
    this.#signal = signal;
  }

  /** `undefined` while nothing was ever written. */
  async readHead(): Promise<Head | undefined> {
    return headOf(await this.#storage.audit.head);
  }

  /**
   * What the HEAD was when entry `seq` was the last one. Returns `undefined` if it is not there.
   */
  async readHeadAt(seq: number): Promise<Head | undefined> {
    const octets = await this.#storage.audit.get(seq);
    return octets && { seq, hash: hashOfEntry(octets).toString('hex') };
  }

  /** How many entries there are. */
  async readLength(): Promise<number> {
    return this.#storage.audit.length;
  }

  /** When the last entry was written, ms since the epoch. */
  async readLastWrittenAt(): Promise<number> {
    return (await this.#storage.audit.head).at;
  }

  async readEntry(seq: number): Promise<AuditEntry | undefined> {
    return parsedOrNone(await this.#storage.audit.get(seq));
  }

  /**
   * Iterates over pages in ascending order, from entry `from` on, including entries written during
   * the walk.
   */
  entryPages(from: number = 1): AsyncGenerator<readonly AuditEntry[]> {
    return this.#parsed(this.#storage.audit.ascending(from));
  }

  /** Pages in descending order, from entry `from` on, or from the last one. */
  newestFirst(from?: number): AsyncGenerator<readonly AuditEntry[]> {
    return this.#parsed(this.#storage.audit.descending(from));
  }

  /**
   * What happened to one node, latest first.
   *
   * @param last the number of its latest entry
   * @param most entries at most
   */
  async entriesOfNode(last: number | undefined, most: number): Promise<AuditEntry[]> {
    const { audit } = this.#storage;
    const entries: AuditEntry[] = [];
    for (let seq = last; seq !== undefined && entries.length < most;) {
      const octets = audit.get(seq);
      // An entry a time, and not a turn an entry.
      const entry = parsedOrNone(octets instanceof Promise ? await octets : octets);
      if (entry === undefined) break;
      entries.push(entry);
      if (entries.length % PAGE_SIZE === 0) await betweenPages(this.#signal);
      seq = entryBefore(entry);
    }
    return entries;
  }

  /**
   * Walks the whole chain and reports its faults, in order. Other work runs between pages. Entries
   * written during the walk are checked too, and a pruned entry is no fault.
   *
   * @param against a HEAD that was saved earlier
   */
  async *verify(against?: Head): AsyncGenerator<string> {
    yield* verifyChain(await this.#storage.audit.chain(), against, this.#signal);
  }

  async *#parsed(rows: Listed<Entry>): AsyncGenerator<readonly AuditEntry[]> {
    for await (const page of inPages(rows, PAGE_SIZE, this.#signal)) yield page.flatMap(([, octets]) => parseEntry(octets) ?? []);
  }
}

function parsedOrNone(octets: Buffer | undefined): AuditEntry | undefined {
  return octets && parseEntry(octets);
}

function entryBefore({ seq, previous_entry: before }: AuditEntry): number | undefined {
  return before !== undefined && before < seq ? before : undefined;
}
