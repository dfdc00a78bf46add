/**
 * The hash chain of the audit log: the format of an entry, and its link to the one before. Pure:
 * storage engines store the rows, and this module builds them.
 *
 *   entry n = hash 32 | hash of entry n-1, 32 | JSON        hash = SHA-256(hash of entry n-1 | JSON)
 *
 * Each entry has both hashes, so that a changed entry differs from one whose neighbour was changed.
 * A process with write access to the store could build a new chain. A HEAD that was saved elsewhere
 * reveals that.
 */

import { createHash, hash as hashAtOnce } from 'node:crypto';
import { formatId, formatTid, type Secret } from '@latchkey/protocol';
import { isoTime } from '@latchkey/runtime/iso-time';
import { betweenPages, type Listed } from './listing.js';

/** Who made a change, as entries name them: `user NAME`, `auth-server`, `controller ID_c`. */
export type Actor = string;

/** Actions that an entry can record. */
export type AuditAction =
  | 'registry created'
  | 'registry restored'
  | 'registry backed up'
  | 'registry copied'
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
  | 'order described'
  | 'nodes imported'
  | 'nodes exported'
  | 'keys fetched'
  | 'key recipient refused'
  | 'node changed by import'
  | 'node joined'
  | 'node renewed'
  | 'node disabled'
  | 'node enabled'
  | 'node removed'
  | 'node moved'
  | 'node lifetime changed'
  | 'node described'
  | 'node reset'
  | 'clock discontinuity'
  | 'clock released'
  | 'installer added'
  | 'installer changed'
  | 'installer recipients changed'
  | 'installer removed'
  | 'token created'
  | 'token revoked'
  | 'user added'
  | 'user role changed'
  | 'user removed'
  | 'sign-in link made'
  | 'command login confirmed'
  | 'command login refused'
  | 'password set'
  | 'log pruned';

/** A change to record. Keys go in as fingerprints. */
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
  /** Of a write that may end in doubt: 16 hex digits, in its first entry. */
  readonly operation?: string;
  /** Number of the previous entry about the same node. */
  readonly previousEntry?: number | undefined;
}

/** A change, who made it, and when: ms since the epoch. */
export interface AttributedEvent extends AuditEvent {
  readonly actor: Actor;
  readonly at: number;
}

/** One entry as it is stored and exported. */
export interface AuditEntry {
  readonly seq: number;
  /** ISO 8601. */
  readonly at: string;
  readonly actor: Actor;
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
  readonly operation?: string;
  readonly previous_entry?: number;
}

/** End of the chain, written as `SEQ:HASH`. */
export interface Head {
  readonly seq: number;
  /** 64 hex digits. */
  readonly hash: string;
}

/**
 * The last entry of a chain, or the last pruned one. `at`: when it was written, ms since the epoch.
 */
export interface ChainHead {
  readonly seq: number;
  readonly hash: Uint8Array;
  readonly at: number;
}

const HASH_LENGTH = 32;

export const EMPTY_CHAIN: ChainHead = { seq: 0, hash: new Uint8Array(HASH_LENGTH), at: 0 };

/** An entry as it is stored, and the head that the chain has with it. */
export interface ChainedEntry {
  readonly octets: Buffer;
  readonly head: ChainHead;
}

/** Makes the entry that follows `last`. */
export function chainEntry(last: ChainHead, event: AuditEvent, actor: Actor, at: number): ChainedEntry {
  const seq = last.seq + 1;
  const { what, node, controller, order, tid, keyBefore, key, count, upTo, note, operation, previousEntry } = event;
  // What is undefined does not go into JSON.
  const entry: { readonly [K in keyof AuditEntry]: AuditEntry[K] | undefined } = {
    seq,
    at: isoTime(at),
    actor,
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
    operation,
    previous_entry: previousEntry,
  };
  const json = JSON.stringify(entry);
  const octets = Buffer.allocUnsafe(2 * HASH_LENGTH + Buffer.byteLength(json));
  octets.set(last.hash, HASH_LENGTH);
  octets.write(json, 2 * HASH_LENGTH);
  const hash = hashAtOnce('sha256', octets.subarray(HASH_LENGTH), 'buffer');
  octets.set(hash);
  return { octets, head: { seq, hash, at } };
}

/** `undefined`: it is none. */
export function parseEntry(octets: Buffer): AuditEntry | undefined {
  try {
    const entry: unknown = JSON.parse(octets.toString('utf8', 2 * HASH_LENGTH));
    return typeof entry === 'object' && entry !== null ? (entry as AuditEntry) : undefined;
  } catch {
    return undefined;
  }
}

/** The hash in an entry. */
export function hashOfEntry(octets: Buffer): Buffer {
  return octets.subarray(0, HASH_LENGTH);
}

/** What an engine says of its chain, as of one moment, or as it is when each part is read. */
export interface StoredChain {
  /** The last entry that was taken out, or `EMPTY_CHAIN`. */
  readonly start: ChainHead;
  /** The last written entry. After the end of `entries`, the entry that ends them. */
  readonly head: ChainHead;
  /** All that is there, in ascending order of place. */
  readonly entries: Listed<readonly [seq: number, octets: Buffer]>;
}

/** Entries after which others have their turn. */
const ENTRIES_PER_TURN = 256;

/**
 * Walks the whole chain and names the faults in it, in order: an entry that was changed, removed,
 * or put in another's place.
 *
 * @param against a HEAD that was written down earlier
 * @param signal ends the walk
 */
export async function* verifyChain(chain: StoredChain, against?: Head, signal?: AbortSignal): AsyncGenerator<string> {
  const walk = new ChainWalk(chain, against);
  const { entries } = chain;
  if (Symbol.iterator in entries) {
    let count = 0;
    for (const [seq, octets] of entries) {
      yield* walk.entry(seq, octets);
      if (++count % ENTRIES_PER_TURN === 0) await betweenPages(signal);
    }
  } else
    for await (const [seq, octets] of entries) {
      signal?.throwIfAborted();
      yield* walk.entry(seq, octets);
    }
  // In the turn in which there were no more entries: the head is that of the last one.
  yield* walk.end();
}

/** Looks at one entry after the other. */
export class ChainWalk {
  readonly #chain: Omit<StoredChain, 'entries'>;
  #start: ChainHead;
  readonly #against: Head | undefined;
  #before: Pick<ChainHead, 'seq' | 'hash'>;
  #prunedThrough = 0;
  #hashAtHead: Uint8Array | undefined;

  constructor(chain: Omit<StoredChain, 'entries'>, against?: Head) {
    this.#chain = chain;
    this.#against = against;
    this.#before = this.#start = chain.start;
    this.#noteHash(this.#before);
  }

  /** Names the faults of the next entry. */
  *entry(seq: number, octets: Buffer): Generator<string> {
    if (seq > this.#before.seq + 1) this.#followPruning(seq);
    const before = this.#before;
    if (!Number.isInteger(seq) || seq <= before.seq) {
      yield `an entry was put in at ${seq}`;
      return;
    }
    const [hash, previous, json] = splitEntry(octets);
    if (seq > before.seq + 1) yield describeRemoved(before.seq + 1, seq - 1);
    const entry = parseEntry(octets);
    if (!hashOf(previous, json).equals(hash)) yield `entry ${seq} was changed`;
    else if (entry === undefined) yield `entry ${seq} was changed, with its hash`;
    else if (entry.seq !== seq) yield `entry ${entry.seq} stands in the place of entry ${seq}`;
    else if (seq === before.seq + 1 && !previous.equals(before.hash)) {
      yield before.seq === this.#start.seq
        ? `entry ${seq} does not follow the start of the log`
        : `entry ${before.seq} was changed, with its hash`;
    }
    if (entry?.what === 'log pruned') this.#prunedThrough = Math.max(this.#prunedThrough, entry.up_to ?? 0);
    this.#before = { seq, hash };
    this.#noteHash(this.#before);
  }

  /** Names the faults that show at the end. */
  *end(): Generator<string> {
    const { head } = this.#chain;
    this.#followPruning(head.seq + 1);
    const [start, against, hashAtHead] = [this.#start, this.#against, this.#hashAtHead];
    // An interrupted or running pruning has left some of the entries that its own entry names.
    if (start.seq > this.#prunedThrough)
      yield `${describeRemoved(this.#prunedThrough + 1, start.seq)}, and no entry tells of a pruning`;
    yield* verifyEnd(this.#before, head);
    if (against === undefined) return;
    if (hashAtHead === undefined)
      yield against.seq < start.seq
        ? `entry ${against.seq}, which the HEAD names, was pruned`
        : `entry ${against.seq}, which the HEAD names, is not there: entries were removed from the end`;
    else if (Buffer.from(hashAtHead).toString('hex') !== against.hash)
      yield `entry ${against.seq} is not the one the HEAD names: the log was rewritten up to it`;
  }

  /**
   * Entries before `seq` may have been pruned since the walk began. The walk then continues after
   * them.
   */
  #followPruning(seq: number): void {
    const { start } = this.#chain;
    if (start.seq <= this.#before.seq || start.seq >= seq) return;
    this.#before = this.#start = start;
    this.#noteHash(start);
  }

  #noteHash({ seq, hash }: Pick<ChainHead, 'seq' | 'hash'>): void {
    if (seq === this.#against?.seq) this.#hashAtHead = hash;
  }
}

/** Compares the last entry with the stored HEAD. */
function* verifyEnd(last: Pick<ChainHead, 'seq' | 'hash'>, head: ChainHead): Generator<string> {
  if (head.seq > last.seq) yield describeRemoved(last.seq + 1, head.seq);
  else if (head.seq < last.seq) yield `entries were put in after entry ${head.seq}, the last one that was written`;
  else if (!Buffer.from(last.hash).equals(head.hash)) yield `entry ${head.seq} was changed, with its hash`;
}

/** `undefined` while nothing was ever written. */
export function headOf({ seq, hash }: ChainHead): Head | undefined {
  return seq === 0 ? undefined : { seq, hash: Buffer.from(hash).toString('hex') };
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

function splitEntry(octets: Buffer): [hash: Buffer, previous: Buffer, json: Buffer] {
  return [octets.subarray(0, HASH_LENGTH), octets.subarray(HASH_LENGTH, 2 * HASH_LENGTH), octets.subarray(2 * HASH_LENGTH)];
}

function describeRemoved(from: number, to: number): string {
  return from === to ? `entry ${from} was removed` : `entries ${from} to ${to} were removed`;
}
