/**
 * Reasons for which a message is rejected, from the table "Failures" of the profile: the reason in
 * M9, and the CoAP code.
 */

/** CoAP response codes the profile uses (RFC 7252 section 12.1.2; 4.29: RFC 8516). */
export type CoapCode =
  | '2.04'
  | '2.05'
  | '4.00'
  | '4.01'
  | '4.02'
  | '4.03'
  | '4.04'
  | '4.05'
  | '4.06'
  | '4.15'
  | '4.29'
  | '5.03'
  | '5.04';

/** The refusals that M9 carries, in the order of their reason octets. */
export type LinkRefusal =
  | 'unknownNode'
  | 'notAssigned'
  | 'disabled'
  | 'outsideJoinWindow'
  | 'expired'
  | 'clock'
  | 'proofFailed'
  | 'overloaded'
  | 'storeFailed';

/** Every rejection, by name. Those that M9 does not carry have a CoAP code only. */
export type Refusal = LinkRefusal | 'malformed' | 'notAuthentic' | 'noTransaction' | 'rateLimited' | 'serverUnavailable';

interface RefusalEntry {
  readonly code: CoapCode;
  /** Max-Age of the answer, in seconds: when to try again. */
  readonly maxAge?: number;
  /** Meaning, for logs and the administrator, as a text that follows the message's name. */
  readonly meaning: string;
}

export const REFUSALS: Readonly<Record<Refusal, RefusalEntry> & Record<LinkRefusal, { readonly reason: number }>> = {
  unknownNode: { reason: 1, code: '4.03', meaning: 'names a node the registry does not have' },
  notAssigned: { reason: 2, code: '4.03', meaning: 'names a node that is assigned to another controller' },
  disabled: { reason: 3, code: '4.03', meaning: 'names a node that is disabled' },
  outsideJoinWindow: { reason: 4, code: '4.03', meaning: 'comes outside the join window of its node' },
  expired: { reason: 5, code: '4.03', meaning: 'names a node whose key has expired past its grace' },
  clock: {
    reason: 6,
    code: '5.03',
    meaning: "has a time stamp outside the window: the controller's clock and the auth-server's differ",
  },
  proofFailed: { reason: 7, code: '4.01', meaning: 'brings a proof that does not open under the key the registry holds' },
  overloaded: { reason: 8, code: '5.03', maxAge: 10, meaning: 'came while the bounds on work in progress were reached' },
  storeFailed: { reason: 9, code: '5.03', maxAge: 30, meaning: 'could not be committed: the store does not take the write' },
  malformed: { code: '4.00', meaning: 'is not a message of this profile' },
  notAuthentic: { code: '4.01', meaning: 'does not open under the key it claims' },
  noTransaction: { code: '4.04', meaning: 'names no open transaction' },
  rateLimited: { code: '4.29', maxAge: 30, meaning: 'is one too many from its source' },
  serverUnavailable: { code: '5.04', meaning: 'got no answer that opens from any auth-server' },
};

const BY_REASON: ReadonlyMap<number, LinkRefusal> = new Map(
  (
    [
      'unknownNode',
      'notAssigned',
      'disabled',
      'outsideJoinWindow',
      'expired',
      'clock',
      'proofFailed',
      'overloaded',
      'storeFailed',
    ] as const
  ).map((refusal) => [REFUSALS[refusal].reason, refusal]),
);

/**
 * The refusal that a reason octet of M9 means, or `undefined` for one this profile does not have.
 */
export function refusalFromReason(reason: number): LinkRefusal | undefined {
  return BY_REASON.get(reason);
}

/** Returns the seconds after which the rejected peer may retry, if the profile names them. */
export function retryAfterSeconds(refusal: Refusal): number | undefined {
  return REFUSALS[refusal].maxAge;
}

/** Octets that are not the message they were taken for: wrong length or first octet. */
export class MalformedMessage extends Error {
  constructor(expected: string, octets: Uint8Array, length: number) {
    super(`${expected} has ${length} octets and another first octet than was given (${octets.length} octets)`);
    this.name = 'MalformedMessage';
  }
}

/** Returns the result of `decode`, or `undefined` if `octets` are malformed. */
export function tryDecode<T>(decode: (octets: Uint8Array) => T, octets: Uint8Array): T | undefined {
  try {
    return decode(octets);
  } catch (error) {
    if (error instanceof MalformedMessage) return undefined;
    throw error;
  }
}
