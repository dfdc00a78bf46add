/**
 * The label of one node as a text that fits a QR code. Imports nothing: browsers draw labels too.
 *
 *   latchkey:1/ID_I/ID_C/IK/HOST:PORT
 *
 * 1 is the profile's version; IDs are 8 hex digits, IK 32. Capitals mean the same, but for the zone
 * of an IPv6 address, e.g. %eth0.
 */

const SCHEME = 'latchkey';
export const LABEL_VERSION = '1' as const;

/** What a label begins with. */
export const LABEL_HEAD: string = `${SCHEME}:${LABEL_VERSION}`;
export const LABEL_SHAPE: string = `${LABEL_HEAD}/ID/CONTROLLER_ID/IK/HOST:PORT`;
/** The zone of an IPv6 address names an interface, where case counts. */
const BEFORE_ZONE = /^[^%]*/;

/** Parts of a label as a manifest has them. */
export interface LabelParts {
  /** 8 hex digits, as `controllerId` */
  readonly id: string;
  readonly controllerId: string;
  /** 32 hex digits */
  readonly ik: string;
  /** `HOST:PORT` */
  readonly controller: string;
}

/** The label as people would write it. It holds a key. */
export function formatLabelText({ id, controllerId, ik, controller }: LabelParts): string {
  return `${LABEL_HEAD}/${id}/${controllerId}/${ik}/${controller}`;
}

/** The label in capitals, which a QR code has a denser alphabet for. It holds a key. */
export function labelInCapitals(label: string): string {
  return label.replace(BEFORE_ZONE, (text) => text.replaceAll(/[a-z]/g, (letter) => letter.toUpperCase()));
}

/** The label without white space around it, in small letters. It holds a key. */
export function normalizeLabel(text: string): string {
  return text.trim().replace(BEFORE_ZONE, (part) => part.replaceAll(/[A-Z]/g, (letter) => letter.toLowerCase()));
}

/** Returns true if a text has the prefix of a label, complete or not. */
export function isLabel(text: string): boolean {
  return text.trim().toLowerCase().startsWith(`${SCHEME}:`);
}

/** The ID of the node that a label is of, and nothing else of it. */
export function nodeOfLabel(text: string): string | undefined {
  return new RegExp(`^${LABEL_HEAD}/([0-9a-f]{8})/`).exec(normalizeLabel(text))?.[1];
}
