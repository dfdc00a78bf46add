/** Labels that name what an application key is for. */

import { isReservedLabel } from '@latchkey/protocol';

/** Labels in one subscription, look-up or setting. */
export const MAX_LABELS = 16;
const MAX_LABEL_LENGTH = 64;

/** Returns the fault of a label, or `undefined` if it is valid. */
export function wrongLabel(label: string): string | undefined {
  if (label === '' || label.includes('\0')) return 'expected a label, e.g. mqtt-psk';
  if (Buffer.byteLength(label) > MAX_LABEL_LENGTH) return `expected a label of ${MAX_LABEL_LENGTH} octets at most`;
  if (isReservedLabel(label)) return 'labels that begin with "latchkey " are reserved; choose another, e.g. mqtt-psk';
  return undefined;
}
