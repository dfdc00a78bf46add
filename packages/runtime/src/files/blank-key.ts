/**
 * Recognises keys that are none: memory that was never written, or that was erased, reads like
 * this.
 */

const BLANK = /^(?:0+|f+)$/i;

export const NO_KEY = 'its digits are all 0 or all f: no key was ever written there';

/** Returns true for hex digits that are all 0, or all f. */
export function isBlankKey(hex: string): boolean {
  return BLANK.test(hex);
}
