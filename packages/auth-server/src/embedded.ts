/**
 * An auth-server without its sockets: the registry, the server that answers from it, and the work
 * in the background. `latchkey-auth-server run` and a controller in combined mode both start it.
 */

import { Registry } from '@latchkey/registry';
import type { Secret } from '@latchkey/protocol';
import { type Log, randomOctets, readClock } from '@latchkey/runtime/daemon';
import { lockFolder } from '@latchkey/runtime/files';
import { logCheckpoint } from './server/audit-checkpoint.js';
import { AuthServer } from './server/auth-server.js';
import { startStoreWatchdog } from './server/store-watchdog.js';
import { RegistryTelemetry } from './telemetry/telemetry.js';

export interface EmbeddedOptions {
  /** Of the registry. */
  readonly folder: string;
  /** Called once the folder is locked. */
  readonly readMasterKey: () => Promise<Secret>;
  /** Who holds the folder: told to other daemons that want it, and to commands. */
  readonly holder: string;
  /** Of the entries in the audit log. */
  readonly actor: string;
  readonly log: Log;
  /** Throws if this process must not serve the registry. Called before anything is written. */
  readonly check?: (registry: Registry) => void;
}

export interface EmbeddedAuthServer {
  readonly server: AuthServer;
  readonly telemetry: RegistryTelemetry;
  /** Call it once nothing asks the server any more. */
  readonly close: () => Promise<void>;
}

/** Locks the folder of the registry, opens the registry, and starts a server on it. */
export async function startEmbedded({
  folder,
  readMasterKey,
  holder,
  actor,
  log,
  check,
}: EmbeddedOptions): Promise<EmbeddedAuthServer> {
  const lock = await lockFolder(folder, holder);
  const registry = await Registry.open(folder, await readMasterKey(), actor);
  check?.(registry);
  await registry.announceAdoption();
  logCheckpoint(registry, log);
  const server = new AuthServer({ registry, clock: readClock, randomBytes: randomOctets, log });
  await server.persistClock();
  const unwatch = startStoreWatchdog(registry, server, log);
  const telemetry = new RegistryTelemetry(registry, server, log);
  return {
    server,
    telemetry,
    close: async () => {
      unwatch();
      telemetry.close();
      await server.close();
      await registry.close();
      await lock.release();
    },
  };
}
