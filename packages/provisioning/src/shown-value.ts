/** Shows values of a file in messages, but never a key that stands in the wrong place. */

/** More hex digits may be a piece of a key. */
const MAX_HEX_DIGITS = 11;
/** A key of 16 octets has 22 characters or more in any usual notation. */
const MAX_CHARACTERS = 16;
/**
 * Names of columns and hosts may be longer: no notation of a key is of one case only, or has dots
 * and colons.
 */
const WORDS = /^(?:[a-z_ -]{1,32}|[A-Z_ -]{1,32}|[^.:]*[.:].{0,64})$/;

/**
 * Returns the value in quotes and printable ASCII, or its length if it may hold a piece of a key.
 */
export function showValue(text: string): string {
  const hexDigits = text.replaceAll(/[^0-9a-f]/gi, '').length;
  if (hexDigits > MAX_HEX_DIGITS || (text.length > MAX_CHARACTERS && !WORDS.test(text)))
    return `a text of ${text.length} characters, which is not shown: it may be a key`;
  return JSON.stringify(text).replaceAll(/[^ -~]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
