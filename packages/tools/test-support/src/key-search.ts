/**
 * Searches output, answers and memory of programs for many keys at once: as octets, and in text
 * also as hex and base64.
 */

const KEY_LENGTH = 16;
/** Half of a key is enough of it to be a leak, and long enough not to be there by chance. */
const HALF = KEY_LENGTH / 2;
/** A half with fewer different octets is a number or a padding, of a key that a test made up. */
const MIN_DIFFERENT_OCTETS = 4;
/** Octets of a pattern by which it is found. */
const PREFIX_LENGTH = 4;

interface Pattern {
  readonly name: string;
  readonly octets: Buffer;
}

export class KeySearch {
  /** By their first four octets. */
  readonly #patterns = new Map<number, Pattern[]>();
  /** Whether some pattern begins with these two octets. */
  readonly #starts = new Uint8Array(2 ** 16);
  readonly #found = new Set<string>();

  /** Looks for the octets of a key. */
  add(name: string, key: Uint8Array): void {
    this.#add(name, Buffer.from(key));
  }

  /** Looks for either half of a key, as octets and in hex, and for the key in base64. */
  addAllForms(name: string, key: Uint8Array): void {
    for (const half of [key.subarray(0, HALF), key.subarray(HALF)]) {
      if (new Set(half).size < MIN_DIFFERENT_OCTETS) continue;
      this.#add(`${name}, octets`, Buffer.from(half));
      const hex = Buffer.from(half).toString('hex');
      for (const text of new Set([hex, hex.toUpperCase()])) this.#add(`${name}, hex`, Buffer.from(text));
    }
    if (new Set(key).size < MIN_DIFFERENT_OCTETS) return;
    for (const before of [0, 1, 2]) {
      const padded = Buffer.concat([Buffer.alloc(before), key]);
      // The characters that are of the key only, wherever it stands in what is encoded.
      const [start, end] = [Math.ceil((before * 8) / 6), Math.floor((padded.length * 8) / 6)];
      for (const text of new Set([padded.toString('base64'), padded.toString('base64url')]))
        this.#add(`${name}, base64`, Buffer.from(text.slice(start, end)));
    }
  }

  /** What was found in all that was searched. */
  found(): readonly string[] {
    return [...this.#found].toSorted();
  }

  search(octets: Uint8Array): void {
    const last = octets.length - PREFIX_LENGTH;
    const view = Buffer.from(octets.buffer, octets.byteOffset, octets.length);
    for (let at = 0; at <= last; at++) {
      if (this.#starts[((view[at] ?? 0) << 8) | (view[at + 1] ?? 0)] !== 1) continue;
      for (const { name, octets: wanted } of this.#patterns.get(view.readUInt32BE(at)) ?? [])
        if (view.compare(wanted, 0, wanted.length, at, Math.min(at + wanted.length, view.length)) === 0) this.#found.add(name);
    }
  }

  #add(name: string, octets: Buffer): void {
    this.#starts[octets.readUInt16BE(0)] = 1;
    const prefix = octets.readUInt32BE(0);
    const others = this.#patterns.get(prefix);
    if (others === undefined) this.#patterns.set(prefix, [{ name, octets }]);
    else others.push({ name, octets });
  }
}
