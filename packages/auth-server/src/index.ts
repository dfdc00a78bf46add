/** The parts of the auth-server that a controller in combined mode runs. */

export { reachSavedTime, startEmbedded } from './embedded.js';
export { EmbeddedApi } from './embedded-api.js';
export { AuthServer } from './server/auth-server.js';
export { RegistryStatistics } from './telemetry/registry-statistics.js';
export type { RegistryTelemetry } from './telemetry/telemetry.js';
