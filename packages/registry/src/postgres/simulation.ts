/** The parts of the engine, for a simulation that has its own database, network and time. */

export type { PostgresConfig, PostgresHost } from './config.js';
export { ConnectionFailure, type ConnectionOptions, DatabaseFailure, type SqlResult, type Statement } from './connection.js';
export type { DatabaseConnection, Environment } from './environment.js';
export { Engine } from './engine.js';
export { type Kept, LastSeen, parseKept, type Seen } from './last-seen.js';
export { NEWEST_SCHEMA } from './migrations.js';
export { connectStorage } from './open-storage.js';
export { PostgresStorage } from './postgres-storage.js';
export { Session } from './session.js';
export { NODES, type SqlRow } from './tables.js';
export { InDoubt, type Decide, type Keys, type Snapshot, Unavailable } from '../storage.js';
export { parseEntry, verifyChain } from '../audit-chain.js';
