/**
 * Stateless address validation: the Echo option (RFC 9175 section 2) carries a time, and a tag over
 * the time and the address. The key of the tag exists in this process only.
 */

import { randomBytes, timingSafeEqual } from 'node:crypto';
import { BlockCipher, cmac } from '@latchkey/protocol';

/** How long a proof counts, in seconds. */
const LIFETIME_SECONDS = 60;
const TIME_LENGTH = 4;
const TAG_LENGTH = 8;
const ECHO_LENGTH = TIME_LENGTH + TAG_LENGTH;

export class EchoValidator {
  readonly #cipher: BlockCipher = new BlockCipher(randomBytes(16));

  /** 12 octets that only `source` can bring back within a minute. */
  issue(source: string, monotonicMs: number): Buffer {
    const echo = Buffer.alloc(ECHO_LENGTH);
    echo.writeUInt32BE(Math.floor(monotonicMs / 1000));
    echo.set(this.#tag(echo, source), TIME_LENGTH);
    return echo;
  }

  /** Whether `echo` was issued to `source` less than a minute ago. */
  verify(echo: Buffer | undefined, source: string, monotonicMs: number): boolean {
    if (echo === undefined || echo.length !== ECHO_LENGTH) return false;
    const age = Math.floor(monotonicMs / 1000) - echo.readUInt32BE();
    return age >= 0 && age < LIFETIME_SECONDS && timingSafeEqual(echo.subarray(TIME_LENGTH), this.#tag(echo, source));
  }

  /** Over the time that `echo` begins with, and the source. */
  #tag(echo: Buffer, source: string): Uint8Array {
    return cmac(this.#cipher, echo.subarray(0, TIME_LENGTH), Buffer.from(source)).subarray(0, TAG_LENGTH);
  }
}
