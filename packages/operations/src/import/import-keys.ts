/**
 * Detects initial keys that an import would give to several nodes, or to a node while another node
 * of the registry has it. Each holder of such a key can join as any of these nodes, so an
 * administrator must confirm that this is intended.
 */

import type { Cipher } from 'node:crypto';
import { KEY_LENGTH, type Secret } from '@latchkey/protocol';
import type { ManifestRow } from '@latchkey/provisioning';
import { UsageFailure } from '@latchkey/runtime/failure';
import { identityCipher, type Registry } from '@latchkey/registry';

/** Rows of an import at most, in 12 octets each. */
const MAX_ROWS = 2 ** 22;
/** Initial keys that are named as repeated at most. */
const MAX_REPEATED = 100_000;
/** Keys that are encrypted in one call: one by one, each costs ten times as much. */
const AT_ONCE = 2 ** 9;
/** Rows by which the buffer grows. */
const GROWTH = 2 ** 16;

/**
 * A buffer of ES2024, in Node.js from 20 on. It grows in place, and frees its memory immediately,
 * without the garbage collector.
 */
interface ResizableBuffer extends ArrayBuffer {
  resize(octets: number): void;
}
const ResizableBuffer = ArrayBuffer as unknown as new (
  octets: number,
  options: { readonly maxByteLength: number },
) => ResizableBuffer;

/** A node that has a key which another node has, too. */
export interface KeyHolder {
  readonly idI: number;
  /** Its line in the file, or its order in the registry. */
  readonly line?: number;
  readonly order?: number;
}

/** Some holders of a key, by its identity: one in the registry, or two. */
export type RepeatedKeys = ReadonlyMap<bigint, readonly KeyHolder[]>;

type KeyRow = Pick<ManifestRow, 'idI' | 'line' | 'ik'>;

/** Rows that can be read again. */
export interface KeyRows {
  forEachRow(row: (row: KeyRow) => void): Promise<void>;
}

/**
 * Returns the identity of an initial key, by which the registry distinguishes keys, from its first
 * 8 octets.
 */
export function identityOf(octets: Uint8Array): bigint {
  return Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength).readBigUInt64BE();
}

/**
 * The initial keys of an import: `add` each row as it is read, then ask for those that are
 * `repeated`.
 */
export class ImportKeys {
  readonly #registry: Registry;
  readonly #cipher: Cipher;
  readonly #keys = Buffer.alloc(AT_ONCE * KEY_LENGTH);
  readonly #identityRoom = roomFor(BigUint64Array.BYTES_PER_ELEMENT);
  readonly #idRoom = roomFor(Uint32Array.BYTES_PER_ELEMENT);
  readonly #identities = new BigUint64Array(this.#identityRoom);
  readonly #ids = new Uint32Array(this.#idRoom);
  #length = 0;
  /** Rows whose keys are in `#keys`, and not yet in `#identities`. */
  #waiting = 0;

  /** @param identity key with which the registry identifies initial keys; the caller wipes it */
  constructor(registry: Registry, identity: Secret) {
    this.#registry = registry;
    this.#cipher = identityCipher(identity);
  }

  /** @throws UsageFailure at `MAX_ROWS` */
  add({ idI, ik }: KeyRow): void {
    if (this.#length === this.#ids.length) this.#grow();
    this.#ids[this.#length++] = idI;
    this.#keys.set(ik, this.#waiting++ * KEY_LENGTH);
    if (this.#waiting === AT_ONCE) this.#identify();
  }

  /**
   * Ends the collection.
   *
   * @param rows that were added, to be re-read if a key occurs twice
   * @throws UsageFailure if there are too many repeated keys to list
   */
  async repeated(rows: KeyRows): Promise<RepeatedKeys> {
    const found: RepeatedKeysSoFar = new Map();
    this.#identify();
    await this.#inRegistry(found);
    const twice = twiceIn(this.#identities.subarray(0, this.#length));
    for (const room of [this.#identityRoom, this.#idRoom]) room.resize(0);
    if (twice.length > 0) await this.#inFile(twice, rows, found);
    return found;
  }

  /** Notes nodes of the registry that have a key of another node in the file. */
  async #inRegistry(found: RepeatedKeysSoFar): Promise<void> {
    const identities = this.#identities.subarray(0, this.#length);
    const ids = this.#ids.subarray(0, this.#length);
    // In place: a sorted copy would take as much again.
    identities.sort();
    ids.sort();
    for await (const page of this.#registry.nodePages())
      for (const { idI, ik, order } of page) {
        const identity = identityOf(ik.octets);
        // A node of the file has the key of its line from then on.
        if (includes(identities, identity) && !includes(ids, idI)) note(found, identity, { idI, order });
      }
  }

  #grow(): void {
    if (this.#length >= MAX_ROWS)
      throw new UsageFailure(`the file has more than ${MAX_ROWS} nodes`, { advice: 'Nothing was changed. Import it in parts.' });
    const rows = Math.min(this.#length + GROWTH, MAX_ROWS);
    this.#identityRoom.resize(rows * BigUint64Array.BYTES_PER_ELEMENT);
    this.#idRoom.resize(rows * Uint32Array.BYTES_PER_ELEMENT);
  }

  #identify(): void {
    const octets = this.#cipher.update(this.#keys.subarray(0, this.#waiting * KEY_LENGTH));
    const from = this.#length - this.#waiting;
    for (let i = 0; i < this.#waiting; i++) this.#identities[from + i] = octets.readBigUInt64BE(i * KEY_LENGTH);
    this.#keys.fill(0);
    this.#waiting = 0;
  }

  /**
   * Notes the first row of each of these keys, and the first one of another node if there is one: a
   * row may stand twice.
   */
  async #inFile(keys: BigUint64Array, rows: KeyRows, found: RepeatedKeysSoFar): Promise<void> {
    const [first, other] = [new Holders(keys.length), new Holders(keys.length)];
    await rows.forEachRow((row) => {
      const identity = identityOf(this.#cipher.update(row.ik));
      const place = lowerBound(keys, identity);
      if (keys[place] !== identity) return;
      if (!first.has(place)) first.set(place, row);
      else if (!other.has(place) && first.at(place).idI !== row.idI) other.set(place, row);
    });
    for (const [place, identity] of keys.entries()) if (other.has(place)) note(found, identity, first.at(place), other.at(place));
  }
}

function roomFor(octets: number): ResizableBuffer {
  return new ResizableBuffer(0, { maxByteLength: MAX_ROWS * octets });
}

type RepeatedKeysSoFar = Map<bigint, KeyHolder[]>;

function note(found: RepeatedKeysSoFar, identity: bigint, ...holders: KeyHolder[]): void {
  const before = found.get(identity) ?? [];
  // Of two, one is not the node that is asked about.
  if (before.length > 1) return;
  found.set(identity, [...before, ...holders]);
  if (found.size <= MAX_REPEATED) return;
  throw new UsageFailure(`more than ${MAX_REPEATED} initial keys are those of several nodes`, {
    advice: 'Nothing was changed. If the nodes are to share them, say --shared-key.',
  });
}

/** A row for each of many keys. */
class Holders {
  readonly #ids: Uint32Array;
  /** 0: there is none. */
  readonly #lines: Uint32Array;

  constructor(length: number) {
    this.#ids = new Uint32Array(length);
    this.#lines = new Uint32Array(length);
  }

  has(place: number): boolean {
    return this.#lines[place] !== 0;
  }

  at(place: number): KeyHolder & { readonly line: number } {
    return { idI: this.#ids[place] ?? 0, line: this.#lines[place] ?? 0 };
  }

  set(place: number, { idI, line }: KeyRow): void {
    [this.#ids[place], this.#lines[place]] = [idI, line];
  }
}

/** Those that stand there more than once, each once. */
export function twiceIn(sorted: BigUint64Array): BigUint64Array {
  const isTwice = (identity: bigint, i: number): boolean => identity === sorted[i + 1] && (i === 0 || identity !== sorted[i - 1]);
  return sorted.filter(isTwice);
}

export function includes(sorted: BigUint64Array, value: bigint): boolean;
export function includes(sorted: Uint32Array, value: number): boolean;
export function includes(sorted: BigUint64Array | Uint32Array, value: bigint | number): boolean {
  return sorted[lowerBound(sorted, value)] === value;
}

/** The first place whose value is not less. */
function lowerBound(sorted: BigUint64Array | Uint32Array, value: bigint | number): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((sorted[middle] ?? 0) < value) from = middle + 1;
    else to = middle;
  }
  return from;
}
