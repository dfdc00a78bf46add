/** The audit log as those read it who ask what happened. */

import {
  type AuditEntry,
  type ChainHead,
  type Head,
  headOf,
  parseEntry,
  type StoredChain,
  verifyChain,
  verifyChainAsync,
} from './audit-chain.js';
import { immediate, Listing, type Listed } from './listing.js';

export type Entry = readonly [seq: number, octets: Buffer];

/** Where an engine keeps the entries of the audit log. */
export interface AuditTable {
  /** The last entry that was taken out, or that of an empty chain. */
  readonly start: ChainHead | Promise<ChainHead>;
  /** The last entry that was written, or that of an empty chain. */
  readonly head: ChainHead | Promise<ChainHead>;
  /** How many entries there are. */
  readonly length: number | Promise<number>;
  get(seq: number): Buffer | undefined | Promise<Buffer | undefined>;
  /** From place `from` on, those too that are written meanwhile. No read stays open in between. */
  ascending(from: number): Listed<Entry>;
  descending(): Listed<Entry>;
  /** As of one moment, all that is there, whatever somebody else put between. */
  chain(): StoredChain | Promise<StoredChain>;
}

/**
 * What has no `await` asks an engine that answers at once, as do loops without it; of another
 * engine it throws a TypeError.
 */
export class AuditLog {
  readonly #storage: { readonly audit: AuditTable };

  constructor(storage: { readonly audit: AuditTable }) {
    this.#storage = storage;
  }

  /** `undefined` while nothing was ever written. */
  get head(): Head | undefined {
    return headOf(immediate(this.#storage.audit.head));
  }

  async readHead(): Promise<Head | undefined> {
    return headOf(await this.#storage.audit.head);
  }

  /** How many entries there are. */
  get length(): number {
    return immediate(this.#storage.audit.length);
  }

  async readLength(): Promise<number> {
    return this.#storage.audit.length;
  }

  /** When the last entry was written, ms since the epoch. */
  get lastWrittenAt(): number {
    return immediate(this.#storage.audit.head).at;
  }

  async readLastWrittenAt(): Promise<number> {
    return (await this.#storage.audit.head).at;
  }

  entry(seq: number): AuditEntry | undefined {
    return parsedOrNone(immediate(this.#storage.audit.get(seq)));
  }

  async readEntry(seq: number): Promise<AuditEntry | undefined> {
    return parsedOrNone(await this.#storage.audit.get(seq));
  }

  /** In ascending order, from entry `from` on, those too that are written meanwhile. */
  entries(from: number = 1): Listing<AuditEntry> {
    return this.#parsed(() => this.#storage.audit.ascending(from));
  }

  /** In descending order. */
  newestFirst(): Listing<AuditEntry> {
    return this.#parsed(() => this.#storage.audit.descending());
  }

  /** What happened to one node, latest first: `last` is the number of its latest entry. */
  entriesOfNode(last: number | undefined): Listing<AuditEntry> {
    const { audit } = this.#storage;
    return new Listing(
      function* () {
        for (let seq = last; seq !== undefined;) {
          const entry = parsedOrNone(immediate(audit.get(seq)));
          if (entry === undefined) return;
          yield entry;
          seq = entryBefore(entry);
        }
      },
      async function* () {
        for (let seq = last; seq !== undefined;) {
          const entry = parsedOrNone(await audit.get(seq));
          if (entry === undefined) return;
          yield entry;
          seq = entryBefore(entry);
        }
      },
    );
  }

  /**
   * Walks the whole chain and names the faults in it, in order.
   *
   * @param against a HEAD that was written down earlier
   */
  verify(against?: Head): Listing<string> {
    const { audit } = this.#storage;
    return new Listing(
      () => verifyChain(immediate(audit.chain()), against),
      async function* () {
        yield* verifyChainAsync(await audit.chain(), against);
      },
    );
  }

  #parsed(read: () => Listed<Entry>): Listing<AuditEntry> {
    return Listing.mapped(read, ([, octets]) => parseEntry(octets));
  }
}

function parsedOrNone(octets: Buffer | undefined): AuditEntry | undefined {
  return octets && parseEntry(octets);
}

function entryBefore({ seq, previous_entry: before }: AuditEntry): number | undefined {
  return before !== undefined && before < seq ? before : undefined;
}
