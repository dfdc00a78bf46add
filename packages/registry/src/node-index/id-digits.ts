/** Digits within IDs, found without making text of a million IDs. */

/**
 * Each of these digits eight times over, to compare it with all eight digits of an ID at once;
 * `undefined`: they stand in no ID.
 */
export function digitsOf(text: string): Int32Array | undefined {
  if (!/^[0-9a-f]{1,8}$/.test(text)) return undefined;
  return Int32Array.from(text, (digit) => Number.parseInt(digit.repeat(8), 16));
}

/** Whether these digits stand in an ID, one after the other. */
export function hasDigits(idI: number, digits: Int32Array): boolean {
  let found = equalDigits(idI, digits[0] ?? 0);
  // The next digit stands one place to the right. Whether one digit is there a processor cannot
  // guess; two are so seldom there that it guesses right.
  if (digits.length > 1) found &= equalDigits(idI, digits[1] ?? 0) << 4;
  for (let i = 2; found !== 0 && i < digits.length; i++) found &= equalDigits(idI, digits[i] ?? 0) << (4 * i);
  return found !== 0;
}

/** The highest bit of each digit that is the same in both, and no other bit. */
function equalDigits(a: number, b: number): number {
  const differing = a ^ b;
  // The highest bit of a digit is set by the sum if any of its lower three bits is.
  return ~(((differing & 0x7777_7777) + 0x7777_7777) | differing | 0x7777_7777);
}
