/**
 * The registry's storage engine on PostgreSQL. Load it with `import()`: `pg` comes with it, and who
 * works on LMDB has no use for that.
 */

export { DEFAULT_PORT } from './config.js';
export type { Durability, PostgresConfig, PostgresHost, PostgresOptions, PostgresTls, ServerIdentity } from './config.js';
export { type AcceptedLoss, acceptLoss, createPostgresSchema, upgradePostgresSchema } from './schema.js';
export { DatabaseMetrics } from './database-metrics.js';
export { openPostgresStorage } from './open-storage.js';
export type { PostgresStorage } from './postgres-storage.js';
