/** Decides which value of a configuration an error may repeat: never one that may be a secret. */

const MAX_TEXT = 64;
const MAX_DIGITS = 12;
/**
 * Fields of secrets, of files with secrets (a secret may stand there in place of the file), and of
 * command lines, which may have a password among their words.
 */
const SECRET_FIELD = /secret|passw|passphrase|token|credential|psk|(?:^|_)keys?(?:_file)?$|command|^reload$|^on_/i;
/** Printable ASCII without `@`, which separates a password from the host of a URL. */
const PLAIN_TEXT = /^[ -?A-~]*$/;
/** Letters and digits in one run, as in a key in hex or base64. */
const KEY_LIKE = /(?=[A-Za-z0-9+/=_-]*\d)[A-Za-z0-9+/=_-]{16,}/;
const PATH = /^\/[a-z]/;

/**
 * Describes the value of a field for the end of an error: `, not "loud"`. Returns an empty text if
 * there is no value, or if the value may be a secret.
 */
export function describeValue(value: unknown, field: readonly PropertyKey[]): string {
  if (value === undefined) return '';
  if (value === null) return ', and it has no value';
  if (Array.isArray(value)) return ', not a list';
  if (typeof value === 'object') return ', not names with values';
  // The last name decides: items of a list have the number of their place.
  const name = field.findLast((part) => typeof part === 'string');
  if (typeof name === 'string' && SECRET_FIELD.test(name)) return '';
  const text = typeof value === 'number' ? String(value) : JSON.stringify(value);
  if (typeof value === 'string') return maySay(value) ? `, not ${text}` : '';
  return text.length <= MAX_DIGITS ? `, not ${text}` : '';
}

function maySay(text: string): boolean {
  if (text.length > MAX_TEXT || !PLAIN_TEXT.test(text)) return false;
  // The parts of a path are checked one by one, because together they are as long as a key.
  return !(PATH.test(text) ? text.split('/') : [text]).some((part) => KEY_LIKE.test(part));
}
