/**
 * The lines of a CSV file for which nobody needs a CSV parser: no quote and no blank in them, as every manifest is written. A parser would
 * cost an import of a million lines more time than anything else it does.
 */

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK: Uint8Array = Uint8Array.of(0xef, 0xbb, 0xbf);
/** Printable ASCII but the blank and the quote. */
const PLAIN = /^[!#-~]*$/;

export class PlainLines {
  /** Lines taken so far. */
  count = 0;
  readonly #take: (record: readonly string[], line: number) => void;
  readonly #maxLine: number;
  #begun = Buffer.alloc(0);

  /**
   * @param take is given the fields of each line that is not empty, and its number, from 1
   * @param maxLine in octets; a longer one is not plain
   */
  constructor(take: (record: readonly string[], line: number) => void, maxLine: number) {
    this.#take = take;
    this.#maxLine = maxLine;
  }

  /** Takes the lines that are whole. Gives what is left from the first line on that is not plain. */
  push(chunk: Buffer): Buffer | undefined {
    const octets = this.#begun.length === 0 ? chunk : Buffer.concat([this.#begun, chunk]);
    let from = this.count === 0 && octets.subarray(0, 3).equals(BYTE_ORDER_MARK) ? 3 : 0;
    for (let to = octets.indexOf(NEWLINE, from); to !== -1; to = octets.indexOf(NEWLINE, from)) {
      if (!this.#takeLine(octets, from, to)) return octets.subarray(from);
      from = to + 1;
    }
    if (octets.length - from > this.#maxLine) return octets.subarray(from);
    this.#begun = Buffer.from(octets.subarray(from));
    return undefined;
  }

  /** The end of the file ends its last line. */
  end(): Buffer | undefined {
    return this.#begun.length === 0 ? undefined : this.push(Buffer.of(NEWLINE));
  }

  #takeLine(octets: Buffer, from: number, newline: number): boolean {
    const to = newline > from && octets[newline - 1] === CARRIAGE_RETURN ? newline - 1 : newline;
    if (to - from > this.#maxLine) return false;
    const text = octets.toString('latin1', from, to);
    if (!PLAIN.test(text)) return false;
    this.count += 1;
    if (text !== '') this.#take(text.split(','), this.count);
    return true;
  }
}
