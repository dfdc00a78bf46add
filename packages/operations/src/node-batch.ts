/**
 * Many nodes in one buffer: an order or an import may have two million. Each takes 28 octets
 * instead of an object, or 44 octets with split keys.
 */

import { timingSafeEqual } from 'node:crypto';
import { KEY_LENGTH, Secret } from '@latchkey/protocol';
import type { DescriptionTexts } from './descriptions.js';

/**
 * Maximum of nodes in one order or import. Index and ID together fit into the 53 bits of a number.
 */
export const MAX_BATCH_NODES: number = 2 ** 21;

const ID_I_OFFSET = 0;
const ID_C_OFFSET = 4;
const LINE_OFFSET = 8;
const IK_OFFSET = 12;
const HALF_OFFSET = IK_OFFSET + KEY_LENGTH;
/** In octets, with whole keys and with split ones. */
const RECORD_LENGTH = HALF_OFFSET;
const SPLIT_RECORD_LENGTH = HALF_OFFSET + KEY_LENGTH;
/**
 * Records in one block: a batch grows block by block, so that nothing is copied and no old copy
 * waits for the collector.
 */
const RECORDS_PER_BLOCK = 2 ** 15;

export class NodeBatch {
  /** Whether each node also has the installer's half of its initial key. */
  readonly isSplit: boolean;
  readonly #recordLength: number;
  readonly #blocks: DataView[] = [];
  /** Of the few nodes that a file describes, or of all of them. */
  readonly #descriptions = new Map<number, DescriptionTexts>();
  #length = 0;
  #sortedIndices: Uint32Array | undefined;

  constructor(isSplit = false) {
    this.isSplit = isSplit;
    this.#recordLength = isSplit ? SPLIT_RECORD_LENGTH : RECORD_LENGTH;
  }

  get length(): number {
    return this.#length;
  }

  /**
   * Copies the key. Returns false, and adds nothing, at `MAX_BATCH_NODES` nodes.
   *
   * @param line of the node in a file, for messages
   * @param half installer's half of the key, in a batch of split keys; copied, too
   */
  add(idI: number, idC: number, ik: Uint8Array, line: number, half?: Uint8Array): boolean {
    if (this.#length >= MAX_BATCH_NODES) return false;
    if ((half !== undefined) !== this.isSplit) throw new RangeError("a batch of split keys takes the installer's half of each");
    if (this.#length % RECORDS_PER_BLOCK === 0)
      this.#blocks.push(new DataView(new ArrayBuffer(RECORDS_PER_BLOCK * this.#recordLength)));
    const i = this.#length++;
    this.#sortedIndices = undefined;
    const block = this.#blockOf(i);
    const offset = this.#offsetOf(i);
    block.setUint32(offset + ID_I_OFFSET, idI);
    block.setUint32(offset + ID_C_OFFSET, idC);
    block.setUint32(offset + LINE_OFFSET, line);
    new Uint8Array(block.buffer, offset + IK_OFFSET, KEY_LENGTH).set(ik);
    if (half !== undefined) new Uint8Array(block.buffer, offset + HALF_OFFSET, KEY_LENGTH).set(half);
    return true;
  }

  /** Sets the description of the node that was added last. */
  describeLast(texts: DescriptionTexts): void {
    this.#descriptions.set(this.#length - 1, texts);
  }

  description(i: number): DescriptionTexts | undefined {
    return this.#descriptions.get(i);
  }

  /** Copies node `i` into another batch, without its description. */
  copyTo(i: number, into: NodeBatch): void {
    into.add(this.idI(i), this.idC(i), this.#keyOf(i), this.line(i), this.#halfOf(i));
  }

  idI(i: number): number {
    return this.#blockOf(i).getUint32(this.#offsetOf(i) + ID_I_OFFSET);
  }

  idC(i: number): number {
    return this.#blockOf(i).getUint32(this.#offsetOf(i) + ID_C_OFFSET);
  }

  line(i: number): number {
    return this.#blockOf(i).getUint32(this.#offsetOf(i) + LINE_OFFSET);
  }

  ik(i: number): Secret {
    return Secret.from(this.#keyOf(i));
  }

  /**
   * Returns the installer's half of the key, or `undefined` in a batch of whole keys. The caller
   * wipes it.
   */
  half(i: number): Secret | undefined {
    const octets = this.#halfOf(i);
    return octets && Secret.from(octets);
  }

  /** The octets of the key in the batch itself, not a copy: neither keep nor change them. */
  ikOctets(i: number): Uint8Array {
    return this.#keyOf(i);
  }

  isSameKey(i: number, j: number): boolean {
    return timingSafeEqual(this.#keyOf(i), this.#keyOf(j));
  }

  #keyOf(i: number): Uint8Array {
    return new Uint8Array(this.#blockOf(i).buffer, this.#offsetOf(i) + IK_OFFSET, KEY_LENGTH);
  }

  #halfOf(i: number): Uint8Array | undefined {
    return this.isSplit ? new Uint8Array(this.#blockOf(i).buffer, this.#offsetOf(i) + HALF_OFFSET, KEY_LENGTH) : undefined;
  }

  /**
   * Indices in ascending order of ID, then of place: LMDB takes keys in that order many times
   * faster than at random.
   */
  indicesById(): Uint32Array {
    this.#sortedIndices ??= this.#sort();
    return this.#sortedIndices;
  }

  wipe(): void {
    for (const { buffer } of this.#blocks) new Uint8Array(buffer).fill(0);
  }

  #sort(): Uint32Array {
    const sortKeys = new Float64Array(this.#length);
    for (let i = 0; i < sortKeys.length; i++) sortKeys[i] = this.idI(i) * MAX_BATCH_NODES + i;
    sortKeys.sort();
    // In the same octets: an index is written where no key is left to be read.
    const indices = new Uint32Array(sortKeys.buffer, 0, sortKeys.length);
    for (let i = 0; i < indices.length; i++) indices[i] = (sortKeys[i] ?? 0) % MAX_BATCH_NODES;
    return indices;
  }

  #blockOf(i: number): DataView {
    const block = this.#blocks[Math.floor(i / RECORDS_PER_BLOCK)];
    if (block === undefined || i >= this.#length) throw new RangeError(`a batch of ${this.#length} has no node ${i}`);
    return block;
  }

  /** Of record `i`, in its block. */
  #offsetOf(i: number): number {
    return (i % RECORDS_PER_BLOCK) * this.#recordLength;
  }
}
