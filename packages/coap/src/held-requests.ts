/**
 * FIFO of waiting requests in one buffer. A stored datagram costs a tenth of the request that is
 * built from it.
 */

import type { RemoteInfo } from 'node:dgram';

/** Maximum of waiting requests. */
const CAPACITY = 16_384;
/** The longest datagram that is held, in octets. M1 and M5 take 50 at most with a token of 8. */
const SLOT_LENGTH = 64;

/** One that waits, and who has received it. */
export interface HeldRequest<R> {
  readonly receiver: R;
  readonly octets: Buffer;
  readonly source: RemoteInfo;
  /** What its copies have in common with it. */
  readonly key: string;
}

type Slot<R> = Omit<HeldRequest<R>, 'octets'> & { readonly length: number };

export class HeldRequests<R> {
  #octets: Buffer | undefined;
  readonly #slots: (Slot<R> | undefined)[] = [];
  readonly #keys = new Set<string>();
  #first = 0;
  #length = 0;

  /** How many wait. */
  get length(): number {
    return this.#length;
  }

  /** Whether a copy of it waits. */
  has(key: string): boolean {
    return this.#length > 0 && this.#keys.has(key);
  }

  /** Takes a copy of the octets. Gives false if they are too many, or too many wait. */
  add({ receiver, octets, source, key }: HeldRequest<R>): boolean {
    if (octets.length > SLOT_LENGTH || this.#length === CAPACITY) return false;
    this.#octets ??= Buffer.alloc(CAPACITY * SLOT_LENGTH);
    const index = (this.#first + this.#length) % CAPACITY;
    octets.copy(this.#octets, index * SLOT_LENGTH);
    this.#slots[index] = { receiver, source, key, length: octets.length };
    this.#keys.add(key);
    this.#length += 1;
    return true;
  }

  /** The receiver of the oldest request. */
  get nextReceiver(): R | undefined {
    return this.#slots[this.#first]?.receiver;
  }

  /** Removes the oldest request. */
  shift(): HeldRequest<R> | undefined {
    const request = this.#remove(this.#first);
    if (request !== undefined) this.#first = (this.#first + 1) % CAPACITY;
    return request;
  }

  /** Removes the newest request. */
  pop(): HeldRequest<R> | undefined {
    return this.#remove((this.#first + this.#length - 1 + CAPACITY) % CAPACITY);
  }

  #remove(index: number): HeldRequest<R> | undefined {
    const slot = this.#slots[index];
    if (slot === undefined || this.#octets === undefined) return undefined;
    const { receiver, source, key, length } = slot;
    const offset = index * SLOT_LENGTH;
    // A copy: the slot is used again while the request is worked on.
    const octets = Buffer.from(this.#octets.subarray(offset, offset + length));
    this.#slots[index] = undefined;
    this.#keys.delete(key);
    this.#length -= 1;
    return { receiver, octets, source, key };
  }
}
