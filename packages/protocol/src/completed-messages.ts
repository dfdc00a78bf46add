import { LENGTH } from './constants.js';

const SLOT_LENGTH: number = LENGTH.M1 + LENGTH.M4 + LENGTH.M5 + LENGTH.M6;
const M4_OFFSET = LENGTH.M1;
const M5_OFFSET: number = M4_OFFSET + LENGTH.M4;
const M6_OFFSET: number = M5_OFFSET + LENGTH.M5;

/**
 * M1, M4, M5 and M6 of completed transactions, to answer retransmitted M1 and M5. They share one
 * buffer with slots of fixed size. Four arrays for each transaction would take six times the
 * memory.
 */
export class CompletedMessages {
  readonly #octets: Uint8Array;
  readonly #freeSlots: number[] = [];
  #nextSlot = 0;

  /** @param capacity most transactions at once */
  constructor(capacity: number) {
    this.#octets = new Uint8Array(capacity * SLOT_LENGTH);
  }

  /** Copies the messages, and returns their slot. A slot must be free. */
  insert(m1: Uint8Array, m4: Uint8Array, m5: Uint8Array, m6: Uint8Array): number {
    const slot = this.#freeSlots.pop() ?? this.#nextSlot++;
    const offset = slot * SLOT_LENGTH;
    this.#octets.set(m1, offset);
    this.#octets.set(m4, offset + M4_OFFSET);
    this.#octets.set(m5, offset + M5_OFFSET);
    this.#octets.set(m6, offset + M6_OFFSET);
    return slot;
  }

  m1(slot: number): Uint8Array {
    return this.#slice(slot, 0, LENGTH.M1);
  }

  m4(slot: number): Uint8Array {
    return this.#slice(slot, M4_OFFSET, LENGTH.M4);
  }

  m5(slot: number): Uint8Array {
    return this.#slice(slot, M5_OFFSET, LENGTH.M5);
  }

  m6(slot: number): Uint8Array {
    return this.#slice(slot, M6_OFFSET, LENGTH.M6);
  }

  /** The row may be used again. */
  free(slot: number): void {
    this.#freeSlots.push(slot);
  }

  #slice(slot: number, from: number, length: number): Uint8Array {
    const offset = slot * SLOT_LENGTH + from;
    return this.#octets.slice(offset, offset + length);
  }
}
