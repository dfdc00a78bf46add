/** Big-endian fields in fixed-size octet strings: the only way the profile's messages are laid out. */

import { equalBytes } from '@noble/ciphers/utils.js';

/** Writes the fields of one message, in order, into a buffer of exactly `length` octets. */
export class Writer {
  readonly octets: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(length: number) {
    this.octets = new Uint8Array(length);
    this.#view = new DataView(this.octets.buffer);
  }

  u8(value: number): this {
    inRange(value, 0xff);
    this.#view.setUint8(this.#at, value);
    this.#at += 1;
    return this;
  }

  u32(value: number): this {
    inRange(value, 0xffff_ffff);
    this.#view.setUint32(this.#at, value);
    this.#at += 4;
    return this;
  }

  u64(value: bigint): this {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw new RangeError('a field of 64 bits was given what does not fit');
    this.#view.setBigUint64(this.#at, value);
    this.#at += 8;
    return this;
  }

  bytes(value: Uint8Array, length: number): this {
    if (value.length !== length) throw new RangeError(`a field of ${length} octets was given ${value.length}`);
    this.octets.set(value, this.#at);
    this.#at += length;
    return this;
  }

  /** The finished message; a field left out is a mistake of this package. */
  done(): Uint8Array {
    if (this.#at !== this.octets.length) throw new RangeError(`${this.octets.length} octets planned, ${this.#at} written`);
    return this.octets;
  }
}

/** A field that does not fit is a mistake, not a number modulo something: a lifetime of 2^32 s must not become "no expiry". */
function inRange(value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) throw new RangeError(`a field of up to ${max} was given ${value}`);
}

/** Reads the fields of one message, in order. The caller has checked the length. */
export class Reader {
  readonly #octets: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(octets: Uint8Array) {
    // A Buffer's own slice() would not copy.
    this.#octets = new Uint8Array(octets.buffer, octets.byteOffset, octets.byteLength);
    this.#view = new DataView(octets.buffer, octets.byteOffset, octets.byteLength);
  }

  u8(): number {
    this.#at += 1;
    return this.#view.getUint8(this.#at - 1);
  }

  u32(): number {
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4);
  }

  u64(): bigint {
    this.#at += 8;
    return this.#view.getBigUint64(this.#at - 8);
  }

  /** A copy: what is read outlives the datagram it came in. */
  bytes(length: number): Uint8Array {
    this.#at += length;
    return this.#octets.slice(this.#at - length, this.#at);
  }

  rest(): Uint8Array {
    return this.bytes(this.#octets.length - this.#at);
  }
}

/** Equality in a time that depends on the lengths alone. */
export function equalInConstantTime(a: Uint8Array, b: Uint8Array): boolean {
  return equalBytes(a, b);
}

export function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((octet, i) => octet ^ (b[i] ?? 0));
}
