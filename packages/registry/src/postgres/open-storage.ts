/** Opens the engine. */

import type { PostgresConfig, PostgresOptions, ServerIdentity } from './config.js';
import { Engine } from './engine.js';
import { Heartbeat, followMonotonicClock } from './heartbeat.js';
import { LastSeen } from './last-seen.js';
import { PostgresStorage } from './postgres-storage.js';

/**
 * Connects to the host that takes writes. Checks that acknowledged writes are durable, and that the
 * database has all entries that this server saw.
 */
export async function openPostgresStorage(
  config: PostgresConfig,
  { folder, log, serve }: PostgresOptions,
): Promise<PostgresStorage> {
  const lastSeen = await LastSeen.read(folder);
  return connectStorage(new PostgresStorage(new Engine(config, lastSeen, log)), serve);
}

/**
 * Connects a storage, and starts the heartbeat of a server. A storage that fails to connect is
 * closed.
 *
 * @param serve identity of the server; `undefined` for a command
 */
export async function connectStorage<S extends PostgresStorage>(storage: S, serve: ServerIdentity | undefined): Promise<S> {
  const { engine } = storage;
  try {
    // The log names the fault of each host as it is found.
    await engine.session();
    if (serve === undefined) {
      await followMonotonicClock(engine);
      return storage;
    }
    const heartbeat = new Heartbeat(engine, storage, serve);
    storage.heartbeat = heartbeat;
    await heartbeat.start();
    return storage;
  } catch (error) {
    await storage.close();
    throw error;
  }
}
