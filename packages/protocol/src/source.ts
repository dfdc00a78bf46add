/** Source of a message. */
export interface Source {
  /** The address without port, in one spelling: wrong proofs are counted by it. */
  readonly address: string;
  /**
   * What the bound per source counts: an IPv4 address, the /64 of an IPv6 address, a link-local
   * address.
   */
  readonly prefix: string;
  /** NID: address and port, 18 octets. */
  readonly nid: Uint8Array;
  /** True if the source has shown that it receives datagrams at its address. */
  readonly addressValidated: boolean;
}

/**
 * Whom a bound per source counts it against: a forged address never fills the share of a proven
 * one.
 */
export function limitKeyOf(source: Source): string {
  return `${source.addressValidated ? 'validated' : 'unvalidated'} ${source.prefix}`;
}
