/**
 * The audit log: what was changed, by whom, in a chain of hashes. An entry is written in the same transaction as the change it
 * tells of, so that neither is there without the other.
 *
 *   entry n = hash 32 | hash of entry n-1, 32 | JSON        hash = SHA-256(hash of entry n-1 | JSON)
 *
 * Each entry holds both hashes, so that a changed entry is told from one whose neighbour was changed. Whoever can write to the store
 * could make a new chain: what was written down elsewhere, a HEAD, shows that.
 */

import { createHash, hash as hashAtOnce } from 'node:crypto';
import { formatId, formatTid, type Secret } from '@latchkey/protocol';
import { type MetadataTable, countEntries, rawValueEquals, scanTable, readRawValue } from '@latchkey/store';
import type { Database } from 'lmdb';
import { isoTime } from './iso-time.js';

/** What an entry can tell of. */
export type What =
  | 'registry created'
  | 'registry upgraded'
  | 'registry restored'
  | 'registry backed up'
  | 'master key change begun'
  | 'master key changed'
  | 'controller added'
  | 'controller changed'
  | 'controller removed'
  | 'controller key ordered'
  | 'controller key changed'
  | 'order created'
  | 'order exported'
  | 'order opened'
  | 'order shut'
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
  | 'node set'
  | 'node reset'
  | 'clock break'
  | 'clock released'
  | 'log pruned';

/** What is to be told. Keys go in as fingerprints. */
export interface Event {
  readonly what: What;
  readonly node?: number;
  readonly controller?: number;
  readonly order?: number;
  readonly tid?: bigint;
  readonly keyBefore?: Secret;
  readonly key?: Secret;
  readonly count?: number;
  /** The last entry that is taken out of the log. */
  readonly through?: number;
  readonly note?: string;
  /** Number of the entry before this one that is about the same node. */
  readonly before?: number | undefined;
}

/** One entry as it is stored and exported. */
export interface Entry {
  readonly seq: number;
  /** ISO 8601. */
  readonly at: string;
  /** `user NAME`, `auth-server`, or `controller ID_c` in combined mode. */
  readonly who: string;
  readonly what: What;
  readonly node?: string;
  readonly controller?: string;
  readonly order?: number;
  readonly tid?: string;
  readonly key_before?: string;
  readonly key?: string;
  readonly count?: number;
  readonly through?: number;
  readonly note?: string;
  readonly before?: number;
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

const HASH = 32;
const HEAD_ROW = 'audit head';
/** Where a pruned log starts: the last entry that was taken out. */
const START_ROW = 'audit start';
/** Entries that are taken out in one transaction. */
const CHUNK = 4_096;
const NOTHING: HeadRow = { seq: 0, hash: new Uint8Array(HASH), at: 0 };

export class AuditLog {
  readonly #entries: Database<Buffer, number>;
  readonly #about: MetadataTable;
  readonly #who: string;
  /** The last row that was written here: as long as the store has it, it need not be decoded. */
  #written: { readonly octets: Buffer; readonly row: HeadRow } | undefined;

  constructor(entries: Database<Buffer, number>, about: MetadataTable, who: string) {
    this.#entries = entries;
    this.#about = about;
    this.#who = who;
  }

  /** Inside the write transaction that makes the change. Gives the entry's number. `at`: ms since the epoch. */
  append(event: Event, at: number): number {
    const last = this.#head();
    const seq = last.seq + 1;
    const { what, node, controller, order, tid, keyBefore, key, count, through, note, before } = event;
    // What is undefined does not go into JSON.
    const entry: { readonly [K in keyof Entry]: Entry[K] | undefined } = {
      seq,
      at: isoTime(at),
      who: this.#who,
      what,
      node: node === undefined ? undefined : formatId(node),
      controller: controller === undefined ? undefined : formatId(controller),
      order,
      tid: tid === undefined ? undefined : formatTid(tid),
      key_before: keyBefore?.fingerprint,
      key: key?.fingerprint,
      count,
      through,
      note,
      before,
    };
    const json = JSON.stringify(entry);
    const octets = Buffer.allocUnsafe(2 * HASH + Buffer.byteLength(json));
    octets.set(last.hash, HASH);
    octets.write(json, 2 * HASH);
    const hash = hashAtOnce('sha256', octets.subarray(HASH), 'buffer');
    octets.set(hash);
    this.#entries.putSync(seq, octets);
    const row: HeadRow = { seq, hash, at };
    this.#about.putSync(HEAD_ROW, row);
    const written = readRawValue(this.#about, HEAD_ROW);
    this.#written = written && { octets: written, row };
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
  get latest(): number {
    return this.#head().at;
  }

  entry(seq: number): Entry | undefined {
    const row = this.#entries.get(seq);
    return row && parse(row);
  }

  /** In ascending order, from entry `from` on, for who takes his time: those that are written meanwhile too. */
  *entries(from: number = 1): Generator<Entry> {
    for (const { value } of scanTable(this.#entries, from)) {
      const entry = parse(value);
      if (entry !== undefined) yield entry;
    }
  }

  /** In descending order. */
  *latestFirst(): Generator<Entry> {
    for (const { value } of this.#entries.getRange({ reverse: true })) {
      const entry = parse(value);
      if (entry !== undefined) yield entry;
    }
  }

  /** What happened to one node, latest first: `last` is the number of its latest entry. */
  *ofNode(last: number | undefined): Generator<Entry> {
    for (let seq = last; seq !== undefined;) {
      const entry = this.entry(seq);
      if (entry === undefined) return;
      yield entry;
      seq = entry.before !== undefined && entry.before < seq ? entry.before : undefined;
    }
  }

  /**
   * Walks the whole chain and names what is wrong, in order: an entry that was changed, removed, or put in another's place.
   *
   * @param against a HEAD that was written down earlier
   */
  *verify(against?: Head): Generator<string> {
    const start = (this.#about.get(START_ROW) as HeadRow | undefined) ?? NOTHING;
    let before: { readonly seq: number; readonly hash: Uint8Array } = start;
    let prunedThrough = 0;
    let met: Uint8Array | undefined = against?.seq === start.seq ? start.hash : undefined;
    for (const { key: seq, value } of this.#entries.getRange()) {
      if (!Number.isInteger(seq) || seq <= before.seq) {
        yield `an entry was put in at ${seq}`;
        continue;
      }
      const [hash, previous, json] = partsOf(value);
      if (seq > before.seq + 1) yield missing(before.seq + 1, seq - 1);
      const entry = parse(value);
      if (!hashOf(previous, json).equals(hash)) yield `entry ${seq} was changed`;
      else if (entry === undefined) yield `entry ${seq} was changed, with its hash`;
      else if (entry.seq !== seq) yield `entry ${entry.seq} stands in the place of entry ${seq}`;
      else if (seq === before.seq + 1 && !previous.equals(before.hash)) {
        yield before.seq === start.seq
          ? `entry ${seq} does not follow the start of the log`
          : `entry ${before.seq} was changed, with its hash`;
      }
      if (entry?.what === 'log pruned') prunedThrough = Math.max(prunedThrough, entry.through ?? 0);
      if (seq === against?.seq) met = hash;
      before = { seq, hash };
    }
    // A pruning that was interrupted, or goes on, has left some of what its entry tells.
    if (start.seq > prunedThrough) yield `${missing(prunedThrough + 1, start.seq)}, and no entry tells of a pruning`;
    yield* this.#verifyEnd(before);
    if (against === undefined) return;
    if (against.seq < start.seq) yield `entry ${against.seq}, which the HEAD names, was pruned`;
    else if (met === undefined)
      yield `entry ${against.seq}, which the HEAD names, is not there: entries were removed from the end`;
    else if (Buffer.from(met).toString('hex') !== against.hash)
      yield `entry ${against.seq} is not the one the HEAD names: the log was rewritten up to it`;
  }

  /** Compares the last entry with what the store says is the last. */
  *#verifyEnd(last: { readonly seq: number; readonly hash: Uint8Array }): Generator<string> {
    const head = this.#head();
    if (head.seq > last.seq) yield missing(last.seq + 1, head.seq);
    else if (head.seq < last.seq) yield `entries were put in after entry ${head.seq}, the last one that was written`;
    else if (!Buffer.from(last.hash).equals(head.hash)) yield `entry ${head.seq} was changed, with its hash`;
  }

  /**
   * Takes out the entries through `last`, a chunk in each transaction, so that no commit waits for all of them. The entry that tells of it is
   * written with the first chunk, and the start of the log moves with each: the first entry that is left follows the start, and the start is
   * never beyond what an entry tells. So the log holds at every moment, wherever this is killed; what it had not come to is still there.
   *
   * @param write runs a write transaction
   * @param progress entries taken out so far
   */
  async prune(
    last: number,
    keptIn: string,
    write: (action: () => number) => Promise<number>,
    progress?: (done: number) => void,
  ): Promise<void> {
    const begin = (): number => {
      if (!this.#entries.doesExist(last)) return 0;
      const removed = this.#removeChunk(last);
      this.append({ what: 'log pruned', through: last, note: `kept in ${keptIn}` }, Date.now());
      return removed;
    };
    let removed = await write(begin);
    for (let done = removed; removed === CHUNK; done += removed) {
      progress?.(done);
      removed = await write(() => this.#removeChunk(last));
    }
  }

  /** Takes out the first entries, through `last` at most; gives how many. */
  #removeChunk(last: number): number {
    const keys = Array.from(this.#entries.getKeys({ end: last + 1, limit: CHUNK }));
    // What somebody put in between is no start.
    const seq = keys.findLast((key) => Number.isInteger(key));
    const row = seq === undefined ? undefined : this.#entries.get(seq);
    if (seq !== undefined && row !== undefined)
      this.#about.putSync(START_ROW, { seq, hash: partsOf(row)[0], at: 0 } satisfies HeadRow);
    for (const key of keys) this.#entries.removeSync(key);
    return keys.length;
  }

  #head(): HeadRow {
    if (this.#written !== undefined && rawValueEquals(this.#about, HEAD_ROW, this.#written.octets)) return this.#written.row;
    return (this.#about.get(HEAD_ROW) as HeadRow | undefined) ?? NOTHING;
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

function partsOf(row: Buffer): [hash: Buffer, previous: Buffer, json: Buffer] {
  return [row.subarray(0, HASH), row.subarray(HASH, 2 * HASH), row.subarray(2 * HASH)];
}

function parse(row: Buffer): Entry | undefined {
  try {
    const entry: unknown = JSON.parse(row.toString('utf8', 2 * HASH));
    return typeof entry === 'object' && entry !== null ? (entry as Entry) : undefined;
  } catch {
    return undefined;
  }
}

function missing(from: number, to: number): string {
  return from === to ? `entry ${from} was removed` : `entries ${from} to ${to} were removed`;
}
