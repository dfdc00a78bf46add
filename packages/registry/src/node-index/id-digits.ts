/** Digits within IDs, found without making text of a million IDs. */

/**
 * Each of these digits repeated eight times, to compare it with all eight digits of an ID together.
 * `undefined` if they cannot be part of an ID.
 */
export function digitsOf(text: string): Int32Array | undefined {
  if (!/^[0-9a-f]{1,8}$/.test(text)) return undefined;
  return Int32Array.from(text, (digit) => Number.parseInt(digit.repeat(8), 16));
}

/** Whether these digits stand in an ID, one after the other. */
export function hasDigits(idI: number, digits: Int32Array): boolean {
  let found = equalDigits(idI, digits[0] ?? 0);
  // The next digit is one place to the right. A processor cannot predict a match of one digit. A
  // match of two is so rare that its branch prediction is right.
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
