/**
 * The audit log: what was changed, by whom, in a chain of hashes. An entry is written in the same
 * transaction as the change it tells of, so that neither is there without the other.
 *
 *   entry n = hash 32 | hash of entry n-1, 32 | JSON        hash = SHA-256(hash of entry n-1 | JSON)
 *
 * Each entry holds both hashes, so that a changed entry is told from one whose neighbour was
 * changed. Whoever can write to the store could make a new chain: what was written down elsewhere,
 * a HEAD, shows that.
 */

import { createHash, hash as hashAtOnce } from 'node:crypto';
import { formatId, formatTid, type Secret } from '@latchkey/protocol';
import type { MetadataTable } from '@latchkey/keyring';
import { countEntries, rawValueEquals, scanTable, readRawValue } from '@latchkey/lmdb';
import type { Database } from 'lmdb';
import { isoTime } from '@latchkey/runtime/iso-time';

/** What an entry can tell of. */
export type AuditAction =
  | 'registry created'
  | 'registry restored'
  | 'registry backed up'
  | 'master key rotation started'
  | 'master key rotated'
  | 'controller added'
  | 'controller changed'
  | 'controller removed'
  | 'controller key staged'
  | 'controller key activated'
  | 'order created'
  | 'order exported'
  | 'order opened'
  | 'order suspended'
  | 'order resumed'
  | 'order closed'
  | 'nodes imported'
  | 'nodes exported'
  | 'node changed by import'
  | 'node joined'
  | 'node renewed'
  | 'node disabled'
  | 'node enabled'
  | 'node removed'
  | 'node moved'
  | 'node lifetime changed'
  | 'node reset'
  | 'clock discontinuity'
  | 'clock released'
  | 'log pruned';

/** What is to be told. Keys go in as fingerprints. */
export interface AuditEvent {
  readonly what: AuditAction;
  readonly node?: number;
  readonly controller?: number;
  readonly order?: number;
  readonly tid?: bigint;
  readonly keyBefore?: Secret;
  readonly key?: Secret;
  readonly count?: number;
  /** The last entry that is taken out of the log. */
  readonly upTo?: number;
  readonly note?: string;
  /** Number of the entry before this one that is about the same node. */
  readonly previousEntry?: number | undefined;
}

/** One entry as it is stored and exported. */
export interface AuditEntry {
  readonly seq: number;
  /** ISO 8601. */
  readonly at: string;
  /** `user NAME`, `auth-server`, or `controller ID_c` in combined mode. */
  readonly actor: string;
  readonly what: AuditAction;
  readonly node?: string;
  readonly controller?: string;
  readonly order?: number;
  readonly tid?: string;
  readonly key_before?: string;
  readonly key?: string;
  readonly count?: number;
  readonly up_to?: number;
  readonly note?: string;
  readonly previous_entry?: number;
}

/** How far the chain goes: `SEQ:HASH` where it is written down. */
export interface Head {
  readonly seq: number;
  /** 64 hex digits. */
  readonly hash: string;
}

interface HeadRow {
  seq: number;
  hash: Uint8Array;
  at: number;
}

const HASH_LENGTH = 32;
const HEAD_KEY = 'audit head';
/** Where a pruned log starts: the last entry that was taken out. */
const START_KEY = 'audit start';
/** Entries that are taken out in one transaction. */
const ENTRIES_PER_TRANSACTION = 4_096;
const EMPTY_HEAD: HeadRow = { seq: 0, hash: new Uint8Array(HASH_LENGTH), at: 0 };

export class AuditLog {
  readonly #entries: Database<Buffer, number>;
  readonly #metadata: MetadataTable;
  readonly #actor: string;
  /** The last row that was written here: as long as the store has it, it need not be decoded. */
  #lastWritten: { readonly octets: Buffer; readonly row: HeadRow } | undefined;

  constructor(entries: Database<Buffer, number>, metadata: MetadataTable, actor: string) {
    this.#entries = entries;
    this.#metadata = metadata;
    this.#actor = actor;
  }

  /**
   * Inside the write transaction that makes the change. Gives the entry's number. `at`: ms since
   * the epoch.
   */
  append(event: AuditEvent, at: number): number {
    const last = this.#head();
    const seq = last.seq + 1;
    const { what, node, controller, order, tid, keyBefore, key, count, upTo, note, previousEntry } = event;
    // What is undefined does not go into JSON.
    const entry: { readonly [K in keyof AuditEntry]: AuditEntry[K] | undefined } = {
      seq,
      at: isoTime(at),
      actor: this.#actor,
      what,
      node: node === undefined ? undefined : formatId(node),
      controller: controller === undefined ? undefined : formatId(controller),
      order,
      tid: tid === undefined ? undefined : formatTid(tid),
      key_before: keyBefore?.fingerprint,
      key: key?.fingerprint,
      count,
      up_to: upTo,
      note,
      previous_entry: previousEntry,
    };
    const json = JSON.stringify(entry);
    const octets = Buffer.allocUnsafe(2 * HASH_LENGTH + Buffer.byteLength(json));
    octets.set(last.hash, HASH_LENGTH);
    octets.write(json, 2 * HASH_LENGTH);
    const hash = hashAtOnce('sha256', octets.subarray(HASH_LENGTH), 'buffer');
    octets.set(hash);
    this.#entries.putSync(seq, octets);
    const row: HeadRow = { seq, hash, at };
    this.#metadata.putSync(HEAD_KEY, row);
    const written = readRawValue(this.#metadata, HEAD_KEY);
    this.#lastWritten = written && { octets: written, row };
    return seq;
  }

  /** `undefined` while nothing was ever written. */
  get head(): Head | undefined {
    const { seq, hash } = this.#head();
    return seq === 0 ? undefined : { seq, hash: Buffer.from(hash).toString('hex') };
  }

  /** How many entries there are. */
  get length(): number {
    return countEntries(this.#entries);
  }

  /** When the last entry was written, ms since the epoch. */
  get lastWrittenAt(): number {
    return this.#head().at;
  }

  entry(seq: number): AuditEntry | undefined {
    const row = this.#entries.get(seq);
    return row && parseEntry(row);
  }

  /**
   * In ascending order, from entry `from` on, for who takes his time: those that are written
   * meanwhile too.
   */
  *entries(from: number = 1): Generator<AuditEntry> {
    for (const { value } of scanTable(this.#entries, from)) {
      const entry = parseEntry(value);
      if (entry !== undefined) yield entry;
    }
  }

  /** In descending order. */
  *newestFirst(): Generator<AuditEntry> {
    for (const { value } of this.#entries.getRange({ reverse: true })) {
      const entry = parseEntry(value);
      if (entry !== undefined) yield entry;
    }
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
   * Walks the whole chain and names what is wrong, in order: an entry that was changed, removed, or
   * put in another's place.
   *
   * @param against a HEAD that was written down earlier
   */
  *verify(against?: Head): Generator<string> {
    const start = (this.#metadata.get(START_KEY) as HeadRow | undefined) ?? EMPTY_HEAD;
    let before: { readonly seq: number; readonly hash: Uint8Array } = start;
    let prunedThrough = 0;
    let hashAtHead: Uint8Array | undefined = against?.seq === start.seq ? start.hash : undefined;
    for (const { key: seq, value } of this.#entries.getRange()) {
      if (!Number.isInteger(seq) || seq <= before.seq) {
        yield `an entry was put in at ${seq}`;
        continue;
      }
      const [hash, previous, json] = splitRow(value);
      if (seq > before.seq + 1) yield describeRemoved(before.seq + 1, seq - 1);
      const entry = parseEntry(value);
      if (!hashOf(previous, json).equals(hash)) yield `entry ${seq} was changed`;
      else if (entry === undefined) yield `entry ${seq} was changed, with its hash`;
      else if (entry.seq !== seq) yield `entry ${entry.seq} stands in the place of entry ${seq}`;
      else if (seq === before.seq + 1 && !previous.equals(before.hash)) {
        yield before.seq === start.seq
          ? `entry ${seq} does not follow the start of the log`
          : `entry ${before.seq} was changed, with its hash`;
      }
      if (entry?.what === 'log pruned') prunedThrough = Math.max(prunedThrough, entry.up_to ?? 0);
      if (seq === against?.seq) hashAtHead = hash;
      before = { seq, hash };
    }
    // A pruning that was interrupted, or goes on, has left some of what its entry tells.
    if (start.seq > prunedThrough) yield `${describeRemoved(prunedThrough + 1, start.seq)}, and no entry tells of a pruning`;
    yield* this.#verifyEnd(before);
    if (against === undefined) return;
    if (against.seq < start.seq) yield `entry ${against.seq}, which the HEAD names, was pruned`;
    else if (hashAtHead === undefined)
      yield `entry ${against.seq}, which the HEAD names, is not there: entries were removed from the end`;
    else if (Buffer.from(hashAtHead).toString('hex') !== against.hash)
      yield `entry ${against.seq} is not the one the HEAD names: the log was rewritten up to it`;
  }

  /** Compares the last entry with what the store says is the last. */
  *#verifyEnd(last: { readonly seq: number; readonly hash: Uint8Array }): Generator<string> {
    const head = this.#head();
    if (head.seq > last.seq) yield describeRemoved(last.seq + 1, head.seq);
    else if (head.seq < last.seq) yield `entries were put in after entry ${head.seq}, the last one that was written`;
    else if (!Buffer.from(last.hash).equals(head.hash)) yield `entry ${head.seq} was changed, with its hash`;
  }

  /**
   * Takes out the entries through `last`, a chunk in each transaction, so that no commit waits for
   * all of them. The entry that tells of it is written with the first chunk, and the start of the
   * log moves with each: the first entry that is left follows the start, and the start is never
   * beyond what an entry tells. So the log holds at every moment, wherever this is killed; what it
   * had not come to is still there.
   *
   * @param write runs a write transaction
   * @param progress entries taken out so far
   */
  async prune(
    last: number,
    archivePath: string,
    write: (action: () => number) => Promise<number>,
    progress?: (done: number) => void,
  ): Promise<void> {
    const removeFirstBatch = (): number => {
      if (!this.#entries.doesExist(last)) return 0;
      const removed = this.#removeBatch(last);
      this.append({ what: 'log pruned', upTo: last, note: `kept in ${archivePath}` }, Date.now());
      return removed;
    };
    let removed = await write(removeFirstBatch);
    for (let done = removed; removed === ENTRIES_PER_TRANSACTION; done += removed) {
      progress?.(done);
      removed = await write(() => this.#removeBatch(last));
    }
  }

  /** Takes out the first entries, through `last` at most; gives how many. */
  #removeBatch(last: number): number {
    const keys = Array.from(this.#entries.getKeys({ end: last + 1, limit: ENTRIES_PER_TRANSACTION }));
    // What somebody put in between is no start.
    const seq = keys.findLast((key) => Number.isInteger(key));
    const row = seq === undefined ? undefined : this.#entries.get(seq);
    if (seq !== undefined && row !== undefined)
      this.#metadata.putSync(START_KEY, { seq, hash: splitRow(row)[0], at: 0 } satisfies HeadRow);
    for (const key of keys) this.#entries.removeSync(key);
    return keys.length;
  }

  #head(): HeadRow {
    if (this.#lastWritten !== undefined && rawValueEquals(this.#metadata, HEAD_KEY, this.#lastWritten.octets))
      return this.#lastWritten.row;
    return (this.#metadata.get(HEAD_KEY) as HeadRow | undefined) ?? EMPTY_HEAD;
  }
}

/** `SEQ:HASH`. */
export function formatHead({ seq, hash }: Head): string {
  return `${seq}:${hash}`;
}

/** `undefined` unless it is `SEQ:HASH`. */
export function parseHead(text: string): Head | undefined {
  const match = /^(\d{1,15}):([0-9a-f]{64})$/.exec(text.trim());
  return match === null ? undefined : { seq: Number(match[1]), hash: match[2] ?? '' };
}

function hashOf(previous: Uint8Array, json: Uint8Array): Buffer {
  return createHash('sha256').update(previous).update(json).digest();
}

function splitRow(row: Buffer): [hash: Buffer, previous: Buffer, json: Buffer] {
  return [row.subarray(0, HASH_LENGTH), row.subarray(HASH_LENGTH, 2 * HASH_LENGTH), row.subarray(2 * HASH_LENGTH)];
}

function parseEntry(row: Buffer): AuditEntry | undefined {
  try {
    const entry: unknown = JSON.parse(row.toString('utf8', 2 * HASH_LENGTH));
    return typeof entry === 'object' && entry !== null ? (entry as AuditEntry) : undefined;
  } catch {
    return undefined;
  }
}

function describeRemoved(from: number, to: number): string {
  return from === to ? `entry ${from} was removed` : `entries ${from} to ${to} were removed`;
}
