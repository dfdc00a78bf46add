/**
 * The unix socket for users of this machine. A request that a browser or a proxy had a part in is
 * refused: the kernel would name the proxy, not the person behind it.
 */

import type { Socket } from 'node:net';
import type { FastifyRequest } from 'fastify';
import { type PeerCredentials } from '@latchkey/runtime/net';
import type { Principal } from './access.js';
import type { LocalUsers } from './local-users.js';
import { Problem } from './problem.js';

const FORWARDED = /^(?:authorization|cookie|origin|forwarded|via|sec-fetch-.*|x-forwarded-.*|x-real-ip)$/;

export function refuseForwarded({ raw }: FastifyRequest): void {
  for (let i = 0; i < raw.rawHeaders.length; i += 2) {
    if (!FORWARDED.test((raw.rawHeaders[i] ?? '').toLowerCase())) continue;
    throw new Problem('forwarded-request', {
      detail: 'The request has an Authorization, Cookie, Origin, Sec-Fetch, Forwarded or Via header.',
      advice: 'Send it from a program on this machine, without a token; a proxy belongs on the socket of `api.remote`.',
    });
  }
}

/** Recognises callers by the process that opened their connection. */
export class LocalCallers {
  readonly #users: LocalUsers;
  readonly #readCredentials: (socket: Socket) => PeerCredentials | undefined;
  /** Read once per connection: the kernel reports the credentials at the time of the connect. */
  readonly #principals = new WeakMap<Socket, Principal>();

  constructor(users: LocalUsers, readCredentials: (socket: Socket) => PeerCredentials | undefined) {
    this.#users = users;
    this.#readCredentials = readCredentials;
  }

  authenticate({ raw }: FastifyRequest): Principal | undefined {
    const { socket } = raw;
    const known = this.#principals.get(socket);
    if (known !== undefined) return known;
    const principal = this.#users.find(this.#readCredentials(socket));
    if (principal !== undefined) this.#principals.set(socket, principal);
    return principal;
  }
}
