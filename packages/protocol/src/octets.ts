/**
 * Big-endian fields in fixed-size octet strings: the only way the profile's messages are laid out.
 */

import { equalBytes } from '@noble/ciphers/utils.js';

/** Up to so many octets V8 keeps an array inside its heap. */
const MAX_ON_HEAP = 64;
/** Octets of memory that larger ones share. */
const POOL_SIZE = 4_096;

let pool = new ArrayBuffer(0);
let poolUsed = 0;

/** Reserves `length` octets in `pool`. Returns their offset, a multiple of 4. */
function reserve(length: number): number {
  if (poolUsed + length > pool.byteLength) {
    pool = new ArrayBuffer(Math.max(POOL_SIZE, length));
    poolUsed = 0;
  }
  const at = poolUsed;
  poolUsed += (length + 3) & ~3;
  return at;
}

/**
 * Returns `length` octets, all zero. An array outside V8's heap has a separate allocation, which
 * costs more than all work on its content. Such arrays therefore share one allocation, which is
 * freed with the last of them.
 */
export function allocate(length: number): Uint8Array {
  if (length <= MAX_ON_HEAP) return new Uint8Array(length);
  const at = reserve(length);
  return new Uint8Array(pool, at, length);
}

/** The same for words of 32 bits. */
export function allocateWords(length: number): Uint32Array {
  const at = reserve(4 * length);
  return new Uint32Array(pool, at, length);
}

/** Writes the fields of one message, in order, into a buffer of exactly `length` octets. */
export class Writer {
  readonly octets: Uint8Array;
  #at = 0;

  constructor(length: number) {
    this.octets = allocate(length);
  }

  u8(value: number): this {
    assertInRange(value, 0xff);
    this.#put(value);
    return this;
  }

  u32(value: number): this {
    assertInRange(value, 0xffff_ffff);
    // By hand: a DataView would give each message a buffer outside the heap.
    for (let shift = 24; shift >= 0; shift -= 8) this.#put(value >>> shift);
    return this;
  }

  u64(value: bigint): this {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw new RangeError('a field of 64 bits was given what does not fit');
    return this.u32(Number(value >> 32n)).u32(Number(value & 0xffff_ffffn));
  }

  bytes(value: Uint8Array, length: number): this {
    if (value.length !== length) throw new RangeError(`a field of ${length} octets was given ${value.length}`);
    this.octets.set(value, this.#at);
    this.#at += length;
    return this;
  }

  /** Leaves `length` octets zero. */
  zeros(length: number): this {
    this.#at += length;
    return this;
  }

  #put(octet: number): void {
    if (this.#at >= this.octets.length) throw new RangeError(`${this.octets.length} octets planned, more written`);
    this.octets[this.#at] = octet;
    this.#at += 1;
  }

  /** The finished message; a field left out is a mistake of this package. */
  done(): Uint8Array {
    if (this.#at !== this.octets.length) throw new RangeError(`${this.octets.length} octets planned, ${this.#at} written`);
    return this.octets;
  }
}

/**
 * A field that does not fit is a mistake, not a number modulo something: a lifetime of 2^32 s must
 * not become "no expiry".
 */
function assertInRange(value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) throw new RangeError(`a field of up to ${max} was given ${value}`);
}

/** Reads the fields of one message, in order. The caller has checked the length. */
export class Reader {
  readonly #octets: Uint8Array;
  #at = 0;

  constructor(octets: Uint8Array) {
    this.#octets = octets;
  }

  u8(): number {
    return this.#octets[this.#at++] ?? throwTruncated();
  }

  u32(): number {
    let value = 0;
    for (let i = 0; i < 4; i++) value = (value << 8) | this.u8();
    return value >>> 0;
  }

  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }

  /** Returns a copy, because it may outlive the datagram. */
  bytes(length: number): Uint8Array {
    const out = allocate(length);
    for (let i = 0; i < length; i++) out[i] = this.u8();
    return out;
  }

  rest(): Uint8Array {
    return this.bytes(this.#octets.length - this.#at);
  }
}

function throwTruncated(): never {
  throw new RangeError('a message ends before its last field');
}

/** Compares in a time that depends only on the lengths. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return equalBytes(a, b);
}

export function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length);
  for (let i = 0; i < out.length; i++) out[i] = (a[i] ?? 0) ^ (b[i] ?? 0);
  return out;
}
