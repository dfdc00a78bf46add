/** Many nodes at once, in 28 octets each instead of objects: an order or an import may have two million. */

import { timingSafeEqual } from 'node:crypto';
import { KEY_LENGTH, Secret } from '@latchkey/protocol';

/** Nodes in one order or import at most. An index fits beside an ID in the 53 bits of a number. */
export const MAX_BATCH: number = 2 ** 21;

const ID_I = 0;
const ID_C = 4;
const LINE = 8;
const IK = 12;
const RECORD = IK + KEY_LENGTH;
/** Records in one block: a batch grows block by block, so that nothing is copied and no old copy waits for the collector. */
const BLOCK = 2 ** 15;

export class NodeBatch {
  readonly #blocks: DataView[] = [];
  #length = 0;
  #order: Uint32Array | undefined;

  get length(): number {
    return this.#length;
  }

  /** `line`: where it stands in a file, for messages. The key is copied. At `MAX_BATCH` nodes it gives false and adds nothing. */
  add(idI: number, idC: number, ik: Uint8Array, line: number): boolean {
    if (this.#length >= MAX_BATCH) return false;
    if (this.#length % BLOCK === 0) this.#blocks.push(new DataView(new ArrayBuffer(BLOCK * RECORD)));
    const i = this.#length++;
    this.#order = undefined;
    const block = this.#blockOf(i);
    block.setUint32(placeOf(i) + ID_I, idI);
    block.setUint32(placeOf(i) + ID_C, idC);
    block.setUint32(placeOf(i) + LINE, line);
    new Uint8Array(block.buffer, placeOf(i) + IK, KEY_LENGTH).set(ik);
    return true;
  }

  /** Puts node `i` into another batch as well. */
  copy(i: number, into: NodeBatch): void {
    into.add(this.idI(i), this.idC(i), this.#keyOf(i), this.line(i));
  }

  idI(i: number): number {
    return this.#blockOf(i).getUint32(placeOf(i) + ID_I);
  }

  idC(i: number): number {
    return this.#blockOf(i).getUint32(placeOf(i) + ID_C);
  }

  line(i: number): number {
    return this.#blockOf(i).getUint32(placeOf(i) + LINE);
  }

  ik(i: number): Secret {
    return Secret.from(this.#keyOf(i));
  }

  /** The octets of the key in the batch itself, not a copy: neither keep nor change them. */
  ikOctets(i: number): Uint8Array {
    return this.#keyOf(i);
  }

  isSameKey(i: number, j: number): boolean {
    return timingSafeEqual(this.#keyOf(i), this.#keyOf(j));
  }

  #keyOf(i: number): Uint8Array {
    return new Uint8Array(this.#blockOf(i).buffer, placeOf(i) + IK, KEY_LENGTH);
  }

  /** Indices in ascending order of ID, then of place: LMDB takes keys in that order many times faster than at random. */
  inOrder(): Uint32Array {
    this.#order ??= this.#sort();
    return this.#order;
  }

  wipe(): void {
    for (const { buffer } of this.#blocks) new Uint8Array(buffer).fill(0);
  }

  #sort(): Uint32Array {
    const keys = new Float64Array(this.#length);
    for (let i = 0; i < keys.length; i++) keys[i] = this.idI(i) * MAX_BATCH + i;
    keys.sort();
    // In the same octets: an index is written where no key is left to be read.
    const order = new Uint32Array(keys.buffer, 0, keys.length);
    for (let i = 0; i < order.length; i++) order[i] = (keys[i] ?? 0) % MAX_BATCH;
    return order;
  }

  #blockOf(i: number): DataView {
    const block = this.#blocks[Math.floor(i / BLOCK)];
    if (block === undefined || i >= this.#length) throw new RangeError(`a batch of ${this.#length} has no node ${i}`);
    return block;
  }
}

/** Of record `i`, in its block. */
function placeOf(i: number): number {
  return (i % BLOCK) * RECORD;
}
