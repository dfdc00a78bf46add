/** What age-keygen prints before a recipient, and writes into a file above it. */
const OF_AGE_KEYGEN = /^[ \t]*#[ \t]*created:.*$|^[ \t]*(?:#[ \t]*)?public key:/gim;

/** Recipients as people paste them: one a line, or with commas and blanks between them. */
export function readRecipients(text: string): readonly string[] {
  return text
    .replaceAll(OF_AGE_KEYGEN, ' ')
    .split(/[\s,;\p{Cf}]+/u)
    .filter((recipient) => recipient !== '');
}
