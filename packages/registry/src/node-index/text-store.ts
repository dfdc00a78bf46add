/**
 * Texts of nodes, one after the other in one buffer, so that a search is one pass over octets. A
 * record is never changed: another text of the same node is another record.
 */

import { foldText } from '../model/node-query.js';
import type { NodeDescription } from '../model/rows.js';

/** Between two texts, and at the end of a record. */
const TEXT_SEPARATOR = '\0';

/** Octets in memory. At the bound a search reads the text from the store. */
const MAX_OCTETS = 256 * 1024 * 1024;
const INITIAL_OCTETS = 64 * 1024;
const INITIAL_RECORDS = 1_024;

export interface SavedTexts {
  readonly octets: Uint8Array;
  readonly starts: Uint32Array;
}

export class TextStore {
  #octets: Buffer = Buffer.allocUnsafe(INITIAL_OCTETS);
  #length = 0;
  /** Start offset of each record; record 1 is at index 0. */
  #starts: Uint32Array = new Uint32Array(INITIAL_RECORDS);
  #records = 0;
  readonly #maxOctets: number;

  constructor(maxOctets: number = MAX_OCTETS) {
    this.#maxOctets = maxOctets;
  }

  static from({ octets, starts }: SavedTexts): TextStore {
    const texts = new TextStore();
    texts.#octets = Buffer.from(octets.buffer, octets.byteOffset, octets.byteLength);
    texts.#length = octets.length;
    texts.#starts = starts;
    texts.#records = starts.length;
    return texts;
  }

  get saved(): SavedTexts {
    return { octets: this.#octets.subarray(0, this.#length), starts: this.#starts.subarray(0, this.#records) };
  }

  /** How many records there are, also those that no node has any more. */
  get records(): number {
    return this.#records;
  }

  /** Returns the number of the new record, from 1, or `undefined` if the store is full. */
  add(text: string): number | undefined {
    const needed = this.#length + Buffer.byteLength(text) + 1;
    if (needed > this.#maxOctets) return undefined;
    this.#reserve(needed);
    this.#starts[this.#records] = this.#length;
    this.#length += this.#octets.write(text + TEXT_SEPARATOR, this.#length);
    return ++this.#records;
  }

  /** Whether this is the text of a record. */
  isSame(record: number, text: string): boolean {
    const end = record < this.#records ? (this.#starts[record] ?? 0) : this.#length;
    return this.#octets.toString('utf8', this.#starts[record - 1], end - 1) === text;
  }

  /** Calls `found` with each record that contains the text, in ascending order. */
  search(text: string, found: (record: number) => void): void {
    if (text.includes(TEXT_SEPARATOR)) return;
    const wanted = Buffer.from(text);
    const octets = this.#octets.subarray(0, this.#length);
    let record = 0;
    for (let at = octets.indexOf(wanted); at !== -1;) {
      record = this.#recordAt(at, record);
      found(record + 1);
      const next = this.#starts[record + 1] ?? 0;
      if (record + 1 >= this.#records) return;
      at = octets.indexOf(wanted, next);
    }
  }

  /** The index of the record that has this octet, from index `from` on. */
  #recordAt(at: number, from: number): number {
    let low = from;
    let high = this.#records - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if ((this.#starts[middle] ?? 0) <= at) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #reserve(octets: number): void {
    if (octets > this.#octets.length) {
      const larger = Buffer.allocUnsafe(Math.min(Math.max(octets, this.#octets.length * 2), this.#maxOctets));
      this.#octets.copy(larger, 0, 0, this.#length);
      this.#octets = larger;
    }
    if (this.#records < this.#starts.length) return;
    const starts = new Uint32Array(Math.max(INITIAL_RECORDS, this.#starts.length * 2));
    starts.set(this.#starts);
    this.#starts = starts;
  }
}

/** Returns the text that a search scans in addition to ID, site and tags. */
export function searchedText({ name, location, note }: Partial<NodeDescription> = {}): string {
  const texts = [name, location, note].filter((text) => text !== undefined);
  return foldText(texts.join(TEXT_SEPARATOR));
}
