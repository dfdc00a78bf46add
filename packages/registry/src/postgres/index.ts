/**
 * The registry's storage engine on PostgreSQL. Load it with `import()`: `pg` comes with it, and who
 * works on LMDB has no use for that.
 */

import { BlockingStorage } from './blocking-storage.js';
import type { PostgresConfig, PostgresOptions } from './config.js';
import { openPostgresStorage } from './open-storage.js';

export { DEFAULT_PORT } from './config.js';
export type { Durability, PostgresConfig, PostgresHost, PostgresOptions, PostgresTls, ServerIdentity } from './config.js';
export { type AcceptedLoss, acceptLoss, createPostgresSchema, upgradePostgresSchema } from './schema.js';
export type { BlockingStorage };
export { DatabaseMetrics } from './database-metrics.js';
export { openPostgresStorage } from './open-storage.js';
export type { PostgresStorage } from './postgres-storage.js';

/** As `openPostgresStorage`, for a process that reads without `await`. */
export async function openBlockingStorage(
  config: PostgresConfig,
  options: Omit<PostgresOptions, 'serve'>,
): Promise<BlockingStorage> {
  return new BlockingStorage(await openPostgresStorage(config, options), config, options.folder);
}
