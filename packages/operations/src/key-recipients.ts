/** Whom keys are encrypted to: age recipients. */

import { createHash } from 'node:crypto';

/** Characters of a recipient in the audit log. */
const BEGINNING = 28;
/** Of an X25519 recipient, in characters. Others are longer. */
const X25519_LENGTH = 62;
/** Hex digits of SHA-256, of a recipient that is longer. */
const HASH_DIGITS = 32;

/** For the audit log. */
export function describeRecipients(recipients: readonly string[]): string {
  return recipients.map(describe).join(', ');
}

/**
 * Finding a second X25519 recipient with the same first characters is infeasible. The first
 * characters of a post-quantum recipient are only a few numbers of its key, and other keys with
 * these numbers can be found.
 */
function describe(recipient: string): string {
  const beginning = recipient.slice(0, BEGINNING);
  if (recipient.length <= X25519_LENGTH) return beginning;
  return `${beginning} sha256:${createHash('sha256').update(recipient).digest('hex').slice(0, HASH_DIGITS)}`;
}
