/**
 * The key sockets of an auth-server: keys of all nodes in the registry, for programs on its
 * machine.
 */

import { join } from 'node:path';
import { type FirstUse, type KeySocketSettings, openKeySockets } from '@latchkey/key-delivery';
import { ApplicationRootStore } from '@latchkey/key-delivery/store';
import type { Registry } from '@latchkey/registry';
import type { Clock, Log } from '@latchkey/runtime/daemon';
import type { Telemetry } from '@latchkey/runtime/telemetry';
import type { AuthServer } from './server/auth-server.js';
import { RegistryKeys } from './server/registry-keys.js';

const STORE_FOLDER = 'application-roots';

export interface KeySocketsOptions {
  readonly registry: Registry;
  readonly server: AuthServer;
  readonly clock: Clock;
  /** Of this machine, where the store is. */
  readonly folder: string;
  readonly settings: readonly KeySocketSettings[];
  /** For how long the former key of a node is served, in ms. */
  readonly overlapMs: number;
  readonly log: Log;
}

export interface KeySockets {
  readonly telemetry: Telemetry;
  /** Call it before the registry is closed. */
  stop(): Promise<void>;
}

/** @throws Failure if a socket cannot be served */
export async function startKeySockets({
  registry,
  server,
  clock,
  folder,
  settings,
  overlapMs,
  log,
}: KeySocketsOptions): Promise<KeySockets> {
  const store = await ApplicationRootStore.openOrReplace(join(folder, STORE_FOLDER), registry.keyring, log, { overlapMs });
  const keys = new RegistryKeys({ registry, store, clock, log });
  try {
    const sockets = await openKeySockets({ source: store, settings, log, onFirstUse: (use) => noteUse(registry, use) });
    registry.beforeAdoption = () => store.followMasterKey();
    server.onCommit = () => keys.wake();
    keys.start();
    return {
      telemetry: {
        isServing: () => sockets?.isOpen !== false,
        checks: [{ name: 'key_store', watchdog: 'reported', run: () => keys.fault(), cacheMs: 0 }],
        metrics: [
          {
            type: 'gauge',
            name: 'latchkey_keys_stored',
            help: 'Nodes whose application root is kept here for key sockets',
            read: () => store.size,
          },
          ...(sockets?.metrics ?? []),
        ],
      },
      async stop() {
        server.onCommit = () => undefined;
        registry.beforeAdoption = () => Promise.resolve();
        await keys.stop();
        await sockets?.close();
        await store.flushed();
        await store.close();
      },
    };
  } catch (error) {
    await store.close();
    throw error;
  }
}

/** Before the first octet of a key: who gets keys out of the registry is in its audit log. */
function noteUse(registry: Registry, { socket, uid, labels }: FirstUse): Promise<void> {
  return registry.record({
    what: 'keys fetched',
    note: `application keys for ${labels.join(', ')}, by user ${uid} through ${socket}`,
  });
}
