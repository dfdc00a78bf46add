/**
 * Listeners of the API: all of its sockets and ports are opened, or none. Requests wait until all
 * of them are open, because a failed start would interrupt a change.
 */

import { chown } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { type Failure, UsageFailure } from '@latchkey/runtime/failure';
import { allowGroup, findGroupId, removeStaleSocket } from '@latchkey/runtime/net';
import type { SocketConfig } from './config.js';
import { Problem } from './problem.js';
import { groupFailure, socketFailure } from './socket-failures.js';

interface Listener {
  /** Returns the address. */
  readonly listen: () => Promise<string>;
  /** Once every listener is there. */
  readonly onOpen: (address: string) => void;
}

export class Listeners {
  readonly servers: FastifyInstance[] = [];
  /** Rejects with a Problem for requests that came to a start which failed. */
  readonly opened: Promise<void>;
  readonly #listeners: Listener[] = [];
  #settle: (error?: Problem) => void = () => undefined;

  constructor() {
    this.opened = new Promise((resolve, reject) => {
      this.#settle = (error) => (error === undefined ? resolve() : reject(error));
    });
    // Handles the rejection even if no request waits.
    this.opened.catch(() => undefined);
  }

  /** A server that takes no request before `opened`. */
  add(server: FastifyInstance, listener: Listener): void {
    this.servers.push(server);
    this.#listeners.push(listener);
  }

  /**
   * Listens everywhere, and then lets requests in.
   *
   * @throws Failure if one cannot listen; `refuse` and close the servers then
   */
  async open(): Promise<void> {
    const addresses: string[] = [];
    for (const { listen } of this.#listeners) addresses.push(await listen());
    this.#settle();
    for (const [i, { onOpen }] of this.#listeners.entries()) onOpen(addresses[i] ?? '');
  }

  /** Ends requests that wait, unless `open` has let them in. */
  refuse(): void {
    this.#settle(
      new Problem('unavailable', { detail: 'The API cannot start. Nothing was done.', advice: 'The log of the API says why.' }),
    );
  }
}

/**
 * Returns the address.
 *
 * @param groupField of the configuration, for messages
 */
export async function listenOnSocket(
  server: FastifyInstance,
  { socket: path, group }: SocketConfig,
  groupField: string,
): Promise<string> {
  const groupId = group === undefined ? undefined : groupIdOf(group, groupField);
  const toFailure = (error: unknown): Failure => socketFailure(path, error);
  try {
    await removeStaleSocket(path, toFailure);
    await server.listen({ path });
    // The socket is for the owner only until here, by the umask of every command.
    if (group !== undefined && groupId !== undefined) await giveToGroup(path, group, groupId);
    await allowGroup(path);
  } catch (error) {
    throw toFailure(error);
  }
  return `unix:${path}`;
}

async function giveToGroup(path: string, group: string, groupId: number): Promise<void> {
  try {
    await chown(path, process.getuid?.() ?? 0, groupId);
  } catch (error) {
    throw groupFailure(path, group, error);
  }
}

function groupIdOf(group: string, field: string): number {
  const groupId = /^\d+$/.test(group) ? Number(group) : findGroupId(group);
  if (groupId !== undefined) return groupId;
  throw new UsageFailure(`${field}: this machine has no group ${group}`, {
    advice: 'Make it with groupadd(8), or name another one.',
  });
}
