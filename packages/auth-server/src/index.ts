/** The parts of the auth-server that a controller in combined mode runs. */

export { filterNodes, type FilterOptions } from './commands/node-filter.js';
export { logCheckpoint } from './server/audit-checkpoint.js';
export { AuthServer } from './server/auth-server.js';
export { startStoreWatchdog } from './server/store-watchdog.js';
export { RegistryStatistics } from './telemetry/registry-statistics.js';
export { RegistryTelemetry } from './telemetry/telemetry.js';
