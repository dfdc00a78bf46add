/** The registry's storage engine on PostgreSQL. `pg` is loaded with this module, and only then. */

export type { Durability, PostgresConfig, PostgresHost, PostgresOptions, PostgresTls, ServerIdentity } from './config.js';

import type { RegistryStorage } from '../storage.js';
import type { Clock } from '@latchkey/runtime/daemon';
import type { PostgresConfig, PostgresOptions } from './config.js';

/** An engine that is open. */
export interface OpenPostgres extends RegistryStorage {
  /** The one clock of all servers of the registry: the database's. */
  readonly clock: Clock;
  /** Why nothing is answered; `undefined`: all is well. */
  fault(): string | undefined;
}

/** Connects to whichever host takes writes, and checks that it keeps what it acknowledges. */
export type OpenPostgresStorage = (config: PostgresConfig, options: PostgresOptions) => Promise<OpenPostgres>;

/** Makes schema `latchkey` in an empty database. @throws UsageFailure if it is there already */
export type CreatePostgresSchema = (config: PostgresConfig) => Promise<void>;

/** Brings the schema to what this version reads. Gives the numbers from and to. */
export type UpgradePostgresSchema = (config: PostgresConfig) => Promise<{ readonly from: number; readonly to: number }>;

/**
 * Lets the registry go on without entries that it lost. Removes what is kept in `folder`, counts an
 * epoch, and gives what was lost as far as it is known.
 */
export type AcceptLoss = (config: PostgresConfig, options: PostgresOptions) => Promise<void>;
