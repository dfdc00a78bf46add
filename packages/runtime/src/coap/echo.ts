/**
 * Proof of a source address with nothing remembered: the Echo option (RFC 9175 section 2) carries a time and a tag over time
 * and address, made with a key of this process alone.
 */

import { createCipheriv, randomBytes, timingSafeEqual } from 'node:crypto';

/** How long a proof counts, in seconds. */
const FRESH_SECONDS = 60;
const TIME_LENGTH = 4;
const TAG_LENGTH = 8;

export class EchoProof {
  readonly #key: Buffer = randomBytes(16);

  /** 12 octets that only `source` can bring back within a minute. */
  issue(source: string, steady: number): Buffer {
    const time = Buffer.alloc(TIME_LENGTH);
    time.writeUInt32BE(Math.floor(steady / 1000));
    return Buffer.concat([time, this.#tag(time, source)]);
  }

  /** Whether `echo` was issued to `source` less than a minute ago. */
  proves(echo: Buffer | undefined, source: string, steady: number): boolean {
    if (echo === undefined || echo.length !== TIME_LENGTH + TAG_LENGTH) return false;
    const time = echo.subarray(0, TIME_LENGTH);
    const age = Math.floor(steady / 1000) - time.readUInt32BE();
    return timingSafeEqual(echo.subarray(TIME_LENGTH), this.#tag(time, source)) && age >= 0 && age < FRESH_SECONDS;
  }

  /** AES-CBC-MAC over a length-prefixed message: safe for messages of any length, and no second primitive. */
  #tag(time: Buffer, source: string): Buffer {
    const text = Buffer.from(source);
    const message = Buffer.concat([Buffer.of(text.length >> 8, text.length & 0xff), time, text]);
    const padded = Buffer.concat([message, Buffer.alloc((16 - (message.length % 16)) % 16)]);
    const cipher = createCipheriv('aes-128-cbc', this.#key, Buffer.alloc(16)).setAutoPadding(false);
    const blocks = cipher.update(padded);
    return blocks.subarray(blocks.length - 16, blocks.length - 16 + TAG_LENGTH);
  }
}
