/** Whom keys are encrypted to: age recipients. */

/** Of one request, and of one token. */
export const MAX_RECIPIENTS = 8;
/** Characters of a recipient in the audit log: nobody makes another one with the same. */
const RECIPIENT_IN_LOG = 28;

/** For the audit log. */
export function describeRecipients(recipients: readonly string[]): string {
  return recipients.map((recipient) => recipient.slice(0, RECIPIENT_IN_LOG)).join(', ');
}
