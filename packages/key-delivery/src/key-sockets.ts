/**
 * The sockets through which a daemon gives out keys: those of its configuration, and a separate one
 * for its commands.
 */

import type { Log } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { MAX_SOCKET_PATH } from '@latchkey/runtime/net';
import type { KeySocketSettings } from './config.js';
import { KeyServer, type KeyServerOptions } from './key-server.js';

export interface KeySocketsOptions extends KeyServerOptions {
  readonly settings: readonly KeySocketSettings[];
  /** The path of the socket for commands on the state folder; none without it. */
  readonly ownSocket?: string;
}

/**
 * Opens the sockets. Returns `undefined` if this machine cannot identify the user of a connection
 * and the configuration names no socket.
 *
 * @throws Failure if a socket of the configuration cannot be served
 */
export async function openKeySockets({ settings, ownSocket, ...options }: KeySocketsOptions): Promise<KeyServer | undefined> {
  const { log } = options;
  const server = startKeyServer(settings, options);
  if (server === undefined) return undefined;
  try {
    for (const socket of settings) {
      await server.listen(socket);
      log.info({ socket: socket.socket, labels: socket.labels }, 'serving keys');
    }
  } catch (error) {
    await server.close();
    throw error;
  }
  if (ownSocket !== undefined) await openOwnSocket(server, ownSocket, log);
  return server;
}

function startKeyServer(settings: readonly KeySocketSettings[], options: KeyServerOptions): KeyServer | undefined {
  try {
    return new KeyServer(options);
  } catch (error) {
    if (!(error instanceof Failure) || settings.length > 0) throw error;
    options.log.info(`${error.message}; \`key\` reads the store`);
    return undefined;
  }
}

/** Without it the command reads the store, as it does where no daemon runs. */
async function openOwnSocket(server: KeyServer, path: string, log: Log): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    log.info({ socket: path }, 'the path is too long for a socket; `key` reads the store');
    return;
  }
  try {
    await server.listenForOwner(path);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    log.warn({ advice: error.advice }, `${error.message}; \`key\` reads the store`);
  }
}
