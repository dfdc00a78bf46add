/** Which processes may connect to a key socket, and how often. */

import type { PeerCredentials } from '@latchkey/runtime/net';

/** Linux shows this ID (`nobody`) for a user that has no number in the namespace. */
const OVERFLOW_ID = 65_534;
const ROOT = 0;

export interface AccessRules {
  /** The daemon's own uid. */
  readonly ownUid: number;
  /** The group that the socket belongs to; `undefined` if it is for its owner only. */
  readonly gid: number | undefined;
  /** False in a user namespace that maps IDs: only the daemon's own uid means something there. */
  readonly hasIdentityIdMaps: boolean;
}

/** The kernel has checked the socket's file mode already. This holds if that was widened. */
export function mayConnect(peer: PeerCredentials | undefined, { ownUid, gid, hasIdentityIdMaps }: AccessRules): boolean {
  if (peer === undefined || peer.uid === OVERFLOW_ID) return false;
  if (peer.uid === ownUid) return true;
  if (!hasIdentityIdMaps) return false;
  return peer.uid === ROOT || (gid !== undefined && gid !== OVERFLOW_ID && peer.groups.includes(gid));
}

/** Counts the connections to all key sockets of a daemon. */
export class ConnectionLimits {
  readonly #perUid: number;
  readonly #total: number;
  readonly #counts = new Map<number, number>();
  #all = 0;

  constructor(perUid: number = 16, total: number = 256) {
    this.#perUid = perUid;
    this.#total = total;
  }

  get all(): number {
    return this.#all;
  }

  /** Counts one more connection of `uid`. Returns false if that would exceed a limit. */
  admit(uid: number): boolean {
    const count = this.#counts.get(uid) ?? 0;
    if (count >= this.#perUid || this.#all >= this.#total) return false;
    this.#counts.set(uid, count + 1);
    this.#all += 1;
    return true;
  }

  release(uid: number): void {
    const count = this.#counts.get(uid) ?? 0;
    if (count <= 1) this.#counts.delete(uid);
    else this.#counts.set(uid, count - 1);
    this.#all -= 1;
  }
}
