/** What the controller takes from here for combined mode: the registry, and the server that answers from it. */

export { logCheckpoint } from './audit-head.js';
export { AuthServer, type AuthServerOptions, type LinkAnswer } from './auth-server.js';
export { RegistryTelemetry } from './observation.js';
export { COMBINED_MODE_HOLDER, Registry } from './registry.js';
export { startStoreWatchdog } from './store-watch.js';
