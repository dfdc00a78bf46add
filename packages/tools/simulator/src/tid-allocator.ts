/**
 * TIDs that never repeat. Mirrors `TidAllocator` of packages/controller, with small blocks, so that
 * a world sees many of them stored.
 */

import type { SimulatedFile } from './simulated-file.js';

const FIRST_BLOCK = 4n;
const LARGEST_BLOCK = 16n;

export class TidAllocator {
  protected readonly file: SimulatedFile;
  protected nextTid: bigint;
  protected stored: bigint;
  #block: bigint = FIRST_BLOCK;
  #storing = false;

  /** @param wall ms since the epoch */
  constructor(file: SimulatedFile, wall: number) {
    this.file = file;
    const before = file.read();
    const clock = BigInt(wall) * 1000n;
    this.nextTid = before === undefined || BigInt(before) < clock ? clock : BigInt(before) + 1n;
    this.stored = this.nextTid - 1n;
  }

  /** Stores the first block. */
  open(done: (opened: boolean) => void): void {
    this.storeBlock(done);
  }

  /** The next TID, or `undefined` while none is stored ahead. */
  next(): bigint | undefined {
    if (this.stored - this.nextTid < this.#block / 2n && !this.#storing) this.#storeAhead();
    if (this.nextTid > this.stored) return undefined;
    this.nextTid += 1n;
    return this.nextTid - 1n;
  }

  #storeAhead(): void {
    this.#storing = true;
    if (this.#block < LARGEST_BLOCK) this.#block *= 2n;
    this.storeBlock(() => (this.#storing = false));
  }

  protected storeBlock(done: (stored: boolean) => void): void {
    const stored = this.stored + this.#block;
    this.file.replace(String(stored), (written) => {
      if (written) this.stored = stored;
      done(written);
    });
  }
}
