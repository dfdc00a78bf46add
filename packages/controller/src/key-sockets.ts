/**
 * The sockets through which a controller gives out keys: those of its configuration, and its own.
 */

import { join } from 'node:path';
import { type KeySocketSettings, type KeySource, KeyServer } from '@latchkey/key-delivery';
import { Failure } from '@latchkey/runtime/failure';
import type { Log } from '@latchkey/runtime/daemon';
import { MAX_SOCKET_PATH } from '@latchkey/runtime/net';
import { OWN_SOCKET } from './daemon-keys.js';

/**
 * Opens the sockets. Returns `undefined` if this machine cannot tell who connects to a socket and
 * the configuration names none.
 *
 * @throws Failure if a socket of the configuration cannot be served
 */
export async function openKeySockets(
  source: KeySource,
  settings: readonly KeySocketSettings[],
  state: string,
  log: Log,
): Promise<KeyServer | undefined> {
  const server = startKeyServer(source, settings, log);
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
  await openOwnSocket(server, join(state, OWN_SOCKET), log);
  return server;
}

function startKeyServer(source: KeySource, settings: readonly KeySocketSettings[], log: Log): KeyServer | undefined {
  try {
    return new KeyServer({ source, log });
  } catch (error) {
    if (!(error instanceof Failure) || settings.length > 0) throw error;
    log.info(`${error.message}; \`key\` reads the store`);
    return undefined;
  }
}

/** Without it the command reads the store, as it does where no controller runs. */
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
