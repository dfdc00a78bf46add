/** The audit log as those read it who ask what happened. */

import { type AuditEntry, type ChainHead, type Head, headOf, parseEntry, verifyChain } from './audit-chain.js';

/** Where an engine keeps the entries of the audit log. */
export interface AuditTable {
  /** The last entry that was taken out, or that of an empty chain. */
  readonly start: ChainHead;
  /** The last entry that was written, or that of an empty chain. */
  readonly head: ChainHead;
  /** How many entries there are. */
  readonly length: number;
  get(seq: number): Buffer | undefined;
  /** From place `from` on, those too that are written meanwhile. No read stays open in between. */
  ascending(from: number): Iterable<readonly [seq: number, octets: Buffer]>;
  descending(): Iterable<readonly [seq: number, octets: Buffer]>;
  /** In ascending order of place, whatever somebody else put there. */
  everything(): Iterable<readonly [place: number, octets: Buffer]>;
}

export class AuditLog {
  readonly #storage: { readonly audit: AuditTable };

  constructor(storage: { readonly audit: AuditTable }) {
    this.#storage = storage;
  }

  /** `undefined` while nothing was ever written. */
  get head(): Head | undefined {
    return headOf(this.#storage.audit.head);
  }

  /** How many entries there are. */
  get length(): number {
    return this.#storage.audit.length;
  }

  /** When the last entry was written, ms since the epoch. */
  get lastWrittenAt(): number {
    return this.#storage.audit.head.at;
  }

  entry(seq: number): AuditEntry | undefined {
    const octets = this.#storage.audit.get(seq);
    return octets && parseEntry(octets);
  }

  /** In ascending order, from entry `from` on, those too that are written meanwhile. */
  entries(from: number = 1): Generator<AuditEntry> {
    return parsed(this.#storage.audit.ascending(from));
  }

  /** In descending order. */
  newestFirst(): Generator<AuditEntry> {
    return parsed(this.#storage.audit.descending());
  }

  /** What happened to one node, latest first: `last` is the number of its latest entry. */
  *entriesOfNode(last: number | undefined): Generator<AuditEntry> {
    for (let seq = last; seq !== undefined;) {
      const entry = this.entry(seq);
      if (entry === undefined) return;
      yield entry;
      seq = entry.previous_entry !== undefined && entry.previous_entry < seq ? entry.previous_entry : undefined;
    }
  }

  /**
   * Walks the whole chain and names the faults in it, in order.
   *
   * @param against a HEAD that was written down earlier
   */
  verify(against?: Head): Generator<string> {
    const { start, head } = this.#storage.audit;
    return verifyChain({ start, head, entries: this.#storage.audit.everything() }, against);
  }
}

function* parsed(entries: Iterable<readonly [number, Buffer]>): Generator<AuditEntry> {
  for (const [, octets] of entries) {
    const entry = parseEntry(octets);
    if (entry !== undefined) yield entry;
  }
}
