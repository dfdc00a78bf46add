/**
 * Callers on the unix socket, by the credentials that the kernel recorded when they connected. Root
 * and the user of this process are administrators; `api.local` of the configuration gives other
 * users a role.
 */

import type { PeerCredentials } from '@latchkey/runtime/net';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type Principal, type Role, scopesOf } from './access.js';

const ROOT = 0;
/** The kernel reports this uid for users without a mapping in this user namespace. */
const OVERFLOW_UID = 65_534;
/** (uid_t) -1: no user has it. */
const NO_UID = 0xffff_ffff;

export interface LocalUsersOptions {
  /** `api.local`: roles by user name or uid. */
  readonly roles: Readonly<Record<string, Role>>;
  readonly ownUid: number;
  /**
   * False inside a user namespace that maps uids: there a uid may stand for another user outside,
   * and only the own uid is known for certain.
   */
  readonly hasIdentityIdMaps: boolean;
  /** Looks up a user name in the system's user database. */
  readonly findUserId: (name: string) => number | undefined;
}

export class LocalUsers {
  readonly #roles = new Map<number, Role>();

  /** @throws UsageFailure if `api.local` names no user, or a user that has its role already */
  constructor({ roles, ownUid, hasIdentityIdMaps, findUserId }: LocalUsersOptions) {
    this.#roles.set(ownUid, 'admin');
    if (hasIdentityIdMaps) this.#roles.set(ROOT, 'admin');
    for (const [name, role] of Object.entries(roles)) {
      const uid = /^\d+$/.test(name) ? Number(name) : findUserId(name);
      if (uid === undefined)
        throw new UsageFailure(`api.local.${name}: this machine has no user of that name`, {
          advice: 'Write a user name or a uid, e.g. `local: {ops: operator}`.',
        });
      if (uid === OVERFLOW_UID || uid >= NO_UID)
        throw new UsageFailure(`api.local.${name}: uid ${uid} stands for users that the kernel cannot name`, {
          advice: 'Give the role to a user with its own uid.',
        });
      if (this.#roles.has(uid))
        throw new UsageFailure(`api.local.${name}: uid ${uid} has a role already`, {
          advice: 'Root and the user of the API are administrators. Name every other user once.',
        });
      if (!hasIdentityIdMaps)
        throw new UsageFailure(`api.local.${name}: uids are mapped in this user namespace, so other users cannot be recognised`, {
          advice: 'Start the API outside of the namespace (systemd: without PrivateUsers=), or leave out `local`.',
        });
      this.#roles.set(uid, role);
    }
  }

  /** Returns `undefined` for a peer without a role, and for one whose credentials are unknown. */
  find(credentials: PeerCredentials | undefined): Principal | undefined {
    if (credentials === undefined || credentials.uid === OVERFLOW_UID || credentials.uid >= NO_UID) return undefined;
    const role = this.#roles.get(credentials.uid);
    return role && { id: `uid ${credentials.uid}`, scopes: scopesOf(role) };
  }
}
