/**
 * The location of a registry: a folder, or a PostgreSQL database. With a database, each machine has
 * a separate folder for its lock, its master key, and what it has seen of the registry.
 */

import { Registry, requireRegistry } from '@latchkey/registry';
import type { PostgresConfig, PostgresStorage, ServerIdentity } from '@latchkey/registry/postgres';
import type { Secret } from '@latchkey/protocol';
import { STATE_FOLDERS } from '@latchkey/runtime/cli';
import { loadConfig } from '@latchkey/runtime/config';
import { createLog, type Log } from '@latchkey/runtime/daemon';
import type { Config } from './config.js';
import { UsageFailure } from '@latchkey/runtime/failure';
import { assertSamePidNamespace } from '@latchkey/runtime/files';
import { isPostgresUrl } from './postgres-url.js';

export interface LocationOptions {
  /** A folder, or the URL of a database. */
  readonly data: string;
  /** Folder of this machine, where `data` is a URL. */
  readonly localData?: string;
  /** Configuration that may name a database. */
  readonly config?: string;
}

export interface RegistryLocation {
  /** Of the registry, or of this machine if the registry is in a database. */
  readonly folder: string;
  readonly postgres?: PostgresConfig | undefined;
}

/** @throws UsageFailure if it is named twice, or by half */
export async function locateRegistry({ data, localData, config }: LocationOptions): Promise<RegistryLocation> {
  const configured = config === undefined ? undefined : (await configurationIn(config)).registry?.postgres;
  if (!isPostgresUrl(data)) {
    if (localData !== undefined)
      throw new UsageFailure('--local-data is given, and --data names a folder', {
        advice: 'Leave out --local-data: it is for a registry in a database.',
      });
    return { folder: data, postgres: configured };
  }
  if (configured !== undefined)
    throw new UsageFailure(`--data names a database, and so does \`registry:\` in ${config}`, {
      advice: 'With that configuration, name the folder of this machine with --data.',
    });
  if (localData === undefined)
    throw new UsageFailure('--data names a database, and --local-data is missing', {
      advice: `Name a folder of this machine: its master key is there, and what it has seen of the registry, e.g. --local-data ${STATE_FOLDERS['auth-server']}`,
    });
  const { parsePostgresUrl } = await import('./postgres-config.js');
  return { folder: localData, postgres: parsePostgresUrl(data, '--data') };
}

/**
 * The schema is loaded only if a configuration exists, because loading takes as long as a look-up.
 */
async function configurationIn(path: string): Promise<Config> {
  const { commandConfigSchema } = await import('./config.js');
  return loadConfig(commandConfigSchema, path);
}

/** In messages. */
export function describeLocation({ folder, postgres }: RegistryLocation): string {
  return postgres === undefined ? folder : `database ${postgres.database}`;
}

/** Opens the registry for a command, or for the API, while servers may run on it. */
export async function openRegistry(
  { folder, postgres }: RegistryLocation,
  readMasterKey: () => Promise<Secret>,
  actor: string,
): Promise<Registry> {
  if (postgres !== undefined) {
    const storage = await openDatabase(postgres, { folder, log: await commandLog() });
    return openOnDatabase(storage, folder, readMasterKey, actor);
  }
  await requireRegistry(folder);
  await assertSamePidNamespace(folder);
  return Registry.open(folder, await readMasterKey(), actor);
}

/** `serve`: who serves from it. */
export async function openDatabase(
  config: PostgresConfig,
  options: { readonly folder: string; readonly log: Log; readonly serve?: ServerIdentity },
): Promise<PostgresStorage> {
  const { openPostgresStorage } = await import('@latchkey/registry/postgres');
  return openPostgresStorage(config, options);
}

/** Closes the storage if the registry cannot be opened. */
export async function openOnDatabase(
  storage: PostgresStorage,
  folder: string,
  readMasterKey: () => Promise<Secret>,
  actor: string,
): Promise<Registry> {
  let master: Secret;
  try {
    master = await readMasterKey();
  } catch (error) {
    await storage.close();
    throw error;
  }
  return Registry.openOn(storage, folder, master, actor, storage.clock);
}

/** Creates an empty registry. `master` is called for its key only if no registry exists yet. */
export async function createRegistry(
  { folder, postgres }: RegistryLocation,
  master: () => Promise<Secret>,
  actor: string,
): Promise<Registry> {
  if (postgres === undefined) return Registry.create(folder, master, actor);
  const { createPostgresSchema } = await import('@latchkey/registry/postgres');
  await createPostgresSchema(postgres);
  const storage = await openDatabase(postgres, { folder, log: await commandLog() });
  return Registry.createOn(storage, folder, master, actor, storage.clock);
}

/** A command reports failures by its exit code and its messages. */
function commandLog(): Promise<Log> {
  return createLog('auth-server', 'error', 'stderr');
}
