/**
 * Builds one line of JSON in octets. A key is written as hex digits without ever being a string, so
 * that the line can be wiped once it is sent.
 */

const INITIAL_LENGTH = 512;
const HEX_DIGITS = Buffer.from('0123456789abcdef', 'latin1');

export class LineBuffer {
  // Outside Node.js's shared pool, so that no other buffer shares its memory.
  #octets = Buffer.allocUnsafeSlow(INITIAL_LENGTH);
  #length = 0;

  /** Adds JSON unchanged. */
  raw(json: string): this {
    this.#reserve(Buffer.byteLength(json));
    this.#length += this.#octets.write(json, this.#length);
    return this;
  }

  /** Adds a value as JSON. It must not hold a key. */
  value(value: string | number | boolean | null): this {
    return this.raw(JSON.stringify(value));
  }

  /** Adds `octets` as a JSON string of hex digits. */
  hex(octets: Uint8Array): this {
    this.raw('"').#reserve(2 * octets.length);
    for (const octet of octets) {
      this.#octets[this.#length++] = HEX_DIGITS[octet >> 4]!;
      this.#octets[this.#length++] = HEX_DIGITS[octet & 0x0f]!;
    }
    return this.raw('"');
  }

  /** Returns the line with its end. The caller wipes it. */
  end(): Buffer {
    return this.raw('\n').#octets.subarray(0, this.#length);
  }

  #reserve(length: number): void {
    const needed = this.#length + length;
    if (needed <= this.#octets.length) return;
    const before = this.#octets;
    this.#octets = Buffer.allocUnsafeSlow(Math.max(needed, 2 * before.length));
    before.copy(this.#octets, 0, 0, this.#length);
    before.fill(0);
  }
}
