/** Splits a file into lines, and stores no more than one line of it. */

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;

export interface CsvLineHandler {
  /** @param plain is set for most lines that match the pattern for plain lines */
  line(text: string, number: number, plain: boolean): void;
  /** The line has more octets than it may have. */
  tooLong(number: number): void;
}

/** LF, CRLF or CR ends a line. A file that was edited may have all three. */
export class CsvLines {
  readonly #handler: CsvLineHandler;
  readonly #maxLine: number;
  /**
   * Lines of these characters need no CSV parser, which costs more than all other work on a line.
   */
  #plain: RegExp;
  #count = 0;
  /** The line that has not ended yet. */
  #rest: Buffer = Buffer.alloc(0);
  /** True after that line was reported as too long: the rest of it is dropped. */
  #dropping = false;

  /** @param maxLine in octets, without its end */
  constructor(handler: CsvLineHandler, plain: RegExp, maxLine: number) {
    this.#handler = handler;
    this.#plain = plain;
    this.#maxLine = maxLine;
  }

  set plain(pattern: RegExp) {
    this.#plain = pattern;
  }

  push(chunk: Buffer): void {
    const octets = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    let from = 0;
    for (let to = octets.indexOf(LINE_FEED); to !== -1; to = octets.indexOf(LINE_FEED, from)) {
      this.#lines(octets, from, to > from && octets[to - 1] === CARRIAGE_RETURN ? to - 1 : to);
      from = to + 1;
    }
    from = this.#breakLongRest(octets, from);
    this.#rest = Buffer.from(octets.subarray(from));
  }

  /** The end of the file ends its last line. */
  end(): void {
    if (this.#rest.length > 0) this.push(Buffer.of(LINE_FEED));
  }

  /**
   * Shortens a rest that is longer than a line may be: by the lines in it that CR ends, or by all
   * of it. Returns where the new rest begins. A CR in the last octet stays, since it may be the
   * first half of CRLF.
   */
  #breakLongRest(octets: Buffer, from: number): number {
    if (octets.length - from <= this.#maxLine + 1) return from;
    const to = octets.lastIndexOf(CARRIAGE_RETURN, octets.length - 2);
    if (to >= from) {
      this.#lines(octets, from, to);
      return this.#breakLongRest(octets, to + 1);
    }
    if (!this.#dropping) this.#handler.tooLong(++this.#count);
    this.#dropping = true;
    return octets[octets.length - 1] === CARRIAGE_RETURN ? octets.length - 1 : octets.length;
  }

  /** Passes on one line, or several that CR ends. */
  #lines(octets: Buffer, from: number, to: number): void {
    if (this.#dropping) return this.#endDropped(octets, from, to);
    if (to - from <= this.#maxLine) {
      const text = octets.toString('latin1', from, to);
      if (this.#plain.test(text)) return this.#handler.line(text, ++this.#count, true);
    }
    const lines = octets.subarray(from, to);
    let start = 0;
    for (let end = lines.indexOf(CARRIAGE_RETURN); end !== -1; end = lines.indexOf(CARRIAGE_RETURN, start)) {
      this.#line(lines.subarray(start, end));
      start = end + 1;
    }
    this.#line(lines.subarray(start));
  }

  #endDropped(octets: Buffer, from: number, to: number): void {
    this.#dropping = false;
    const end = octets.subarray(from, to).indexOf(CARRIAGE_RETURN);
    if (end !== -1) this.#lines(octets, from + end + 1, to);
  }

  #line(octets: Buffer): void {
    this.#count += 1;
    if (octets.length > this.#maxLine) this.#handler.tooLong(this.#count);
    else this.#handler.line(octets.toString('utf8'), this.#count, false);
  }
}
