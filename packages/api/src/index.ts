/** The management API: operations on the registry over HTTP. */

import { chown } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import type { Registry } from '@latchkey/registry';
import type { Daemon, Log } from '@latchkey/runtime/daemon';
import { Failure, systemCode, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { nativeLocks, readFolderLock } from '@latchkey/runtime/files';
import {
  allowGroup,
  findGroupId,
  findUserId,
  hasIdentityIdMaps,
  openPeerCredentials,
  removeStaleSocket,
} from '@latchkey/runtime/net';
import type { ApiConfig } from './config.js';
import { LocalCallers, refuseForwarded } from './local-socket.js';
import { LocalUsers } from './local-users.js';
import { ROUTES } from './routes.js';
import { OpaqueValues } from './opaque.js';
import { RegistryAccess } from './registry-access.js';
import { buildServer } from './server.js';

export interface ApiOptions {
  readonly config: ApiConfig;
  /** Of the registry. */
  readonly folder: string;
  /** Reads the master key and opens the registry. */
  readonly openRegistry: () => Promise<Registry>;
  readonly log: Log;
}

/** Serves the API until it is stopped. */
export async function startApi({ config, folder, openRegistry, log }: ApiOptions): Promise<Daemon> {
  if (nativeLocks() === undefined)
    throw new UsageFailure('the API cannot run beside a server on this machine: its store belongs to one process', {
      advice: 'Use the commands of latchkey-auth-server here, or run it on a machine with glibc.',
    });
  const users = new LocalUsers({
    roles: config.local,
    ownUid: process.getuid?.() ?? 0,
    hasIdentityIdMaps: hasIdentityIdMaps(),
    findUserId,
  });
  const groupId = config.group === undefined ? undefined : groupIdOf(config.group);
  const callers = new LocalCallers(users, openPeerCredentials());
  const registry = new RegistryAccess(folder, openRegistry);
  // A registry that cannot be opened is a mistake to be told at the start.
  await registry.use(() => undefined);
  const server = buildServer({
    routes: ROUTES,
    registry,
    opaque: new OpaqueValues(),
    readServerState: () => readFolderLock(folder),
    checkRequest: refuseForwarded,
    authenticate: (request) => callers.authenticate(request),
    log,
  });
  try {
    await listen(server, config.socket, groupId);
  } catch (error) {
    await registry.close();
    throw error;
  }
  log.info({ api: `unix:${config.socket}` }, 'serving the API');
  return {
    telemetry: {
      isServing: () => server.server.listening,
      checks: [{ name: 'registry', watchdog: 'required', run: () => registry.use(() => undefined) }],
      metrics: [],
    },
    async stop() {
      await server.close();
      await registry.close();
    },
  };
}

async function listen(server: FastifyInstance, path: string, groupId: number | undefined): Promise<void> {
  const toFailure = (error: unknown): Failure => listenFailure(path, error);
  try {
    await removeStaleSocket(path, toFailure);
    await server.listen({ path });
    // The socket is for the owner only until here, by the umask of every command.
    if (groupId !== undefined) await chown(path, process.getuid?.() ?? 0, groupId);
    await allowGroup(path);
  } catch (error) {
    await server.close();
    throw toFailure(error);
  }
}

function listenFailure(path: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const { message, advice, cause } = systemFailure(`cannot serve the API on unix:${path}`, error);
  if (systemCode(error) !== 'EADDRINUSE') return new Failure(message, { ...(advice === undefined ? {} : { advice }), cause });
  return new Failure(message, {
    cause,
    advice: 'Stop it, or choose another path with `socket:` below `api:` of the configuration.',
  });
}

function groupIdOf(group: string): number {
  const groupId = /^\d+$/.test(group) ? Number(group) : findGroupId(group);
  if (groupId !== undefined) return groupId;
  throw new UsageFailure(`api.group: this machine has no group ${group}`, {
    advice: 'Make it with groupadd(8), or name another one.',
  });
}
