/**
 * An auth-server without its sockets: the registry, the server that answers from it, and the work
 * in the background. `latchkey-auth-server run` and a controller in combined mode both start it.
 */

import { hostname } from 'node:os';
import { setTimeout as pause } from 'node:timers/promises';
import { Registry } from '@latchkey/registry';
import type { Secret } from '@latchkey/protocol';
import { type Clock, type Log, randomOctets, readClock } from '@latchkey/runtime/daemon';
import { ensurePrivateFolder, lockFolder } from '@latchkey/runtime/files';
import { type Metric, readVersion } from '@latchkey/runtime/telemetry';
import { openDatabase, openOnDatabase, type RegistryLocation } from './registry-location.js';
import { logCheckpoint } from './server/audit-checkpoint.js';
import { AuthServer } from './server/auth-server.js';
import { startStoreWatchdog } from './server/store-watchdog.js';
import { RegistryTelemetry } from './telemetry/telemetry.js';

/** Half of the longest round trip of a reading that counts, of both servers, in ms. */
const MAX_CLOCK_ERROR_MS = 500;

export interface EmbeddedOptions extends RegistryLocation {
  /** Called once the folder is locked. */
  readonly readMasterKey: () => Promise<Secret>;
  /** Name of the lock's holder, for messages of other daemons and commands. */
  readonly holder: string;
  /** Of the entries in the audit log. */
  readonly actor: string;
  readonly log: Log;
  /** Throws if this process must not serve the registry. Called before anything is written. */
  readonly check?: (registry: Registry) => Promise<void>;
}

export interface EmbeddedAuthServer {
  readonly registry: Registry;
  readonly clock: Clock;
  readonly server: AuthServer;
  readonly telemetry: RegistryTelemetry;
  /** Call it once nothing asks the server any more. */
  readonly close: () => Promise<void>;
}

/**
 * Locks the folder, opens the registry, and starts a server on it. If that fails, all that was
 * opened is closed: other servers of a database would take this one for one that runs.
 */
export async function startEmbedded(options: EmbeddedOptions): Promise<EmbeddedAuthServer> {
  const { folder, holder, log, check } = options;
  // With a database it is the folder of this machine, which may not be there yet.
  if (options.postgres !== undefined) await ensurePrivateFolder(folder);
  /** The last one first. */
  const closers: (() => unknown)[] = [];
  const close = async (): Promise<void> => {
    try {
      await closers.shift()?.();
    } finally {
      if (closers.length > 0) await close();
    }
  };
  const lock = await lockFolder(folder, holder);
  closers.push(() => lock.release());
  try {
    const { registry, clock, fault, metrics } = await open(options);
    closers.unshift(() => registry.close());
    await check?.(registry);
    await registry.announceAdoption();
    await logCheckpoint(registry, log);
    if (options.postgres !== undefined) await reachSavedTime(registry, clock);
    const server = new AuthServer({ registry, clock, randomBytes: randomOctets, log });
    closers.unshift(() => server.close());
    await server.persistClock();
    const unwatch = startStoreWatchdog(registry, server, log);
    closers.unshift(unwatch);
    const telemetry = new RegistryTelemetry(registry, server, log, { clock, fault, metrics });
    closers.unshift(() => telemetry.close());
    return { registry, clock, server, telemetry, close };
  } catch (error) {
    // What it failed by says more than what then could not be closed.
    await close().catch(() => undefined);
    throw error;
  }
}

/**
 * Waits until the clock reaches the saved time. Servers of a database read the same clock, each
 * with a different error. A time that another server saved just now may be ahead of the clock as
 * read here, and would count as a discontinuity.
 */
export async function reachSavedTime(
  { clockHistory: { savedAt } }: Registry,
  clock: Clock,
  wait: (ms: number) => Promise<void> = pause,
): Promise<void> {
  const ahead = (savedAt?.monotonicMs ?? 0) - clock().monotonicMs;
  if (ahead > 0 && ahead <= MAX_CLOCK_ERROR_MS) await wait(Math.ceil(ahead));
}

interface OpenRegistry {
  readonly registry: Registry;
  readonly clock: Clock;
  /** Why the registry cannot be served from, if that is known. */
  readonly fault: () => string | undefined;
  /** Metrics of the database. */
  readonly metrics: readonly Metric[];
}

async function open({ folder, postgres, readMasterKey, actor, log }: EmbeddedOptions): Promise<OpenRegistry> {
  if (postgres === undefined)
    return {
      registry: await Registry.open(folder, await readMasterKey(), actor),
      clock: readClock,
      fault: () => undefined,
      metrics: [],
    };
  const serve = { name: hostname(), version: readVersion().version };
  const storage = await openDatabase(postgres, { folder, log, serve });
  const registry = await openOnDatabase(storage, folder, readMasterKey, actor);
  return { registry, clock: storage.clock, fault: () => storage.fault(), metrics: storage.metrics };
}
