/**
 * An auth-server in this process whose registry is in PostgreSQL. To the database it is the one
 * that `run` starts on the same folder.
 */

import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { readMasterKey } from '@latchkey/keyring';
import { Registry } from '@latchkey/registry';
import { openPostgresStorage, type PostgresConfig } from '@latchkey/registry/postgres';
import { createLog } from '@latchkey/runtime/daemon';
import { InProcessRegistry } from '../registry/in-process.js';
import type { RegistryFixture } from '../registry/registry-fixture.js';

/** @param folder the machine's own; made if there is none */
export async function serveFromDatabase(
  folder: string,
  fixture: RegistryFixture,
  config: PostgresConfig,
): Promise<InProcessRegistry> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const log = await createLog('bench', 'error', 'stderr');
  const storage = await openPostgresStorage(config, { folder, log, serve: { name: hostname(), version: 'bench' } });
  const master = await readMasterKey({ kind: 'file', path: fixture.masterKey });
  const registry = await Registry.openOn(storage, folder, master, 'bench', storage.clock);
  return InProcessRegistry.serve(registry, fixture, storage.clock);
}
