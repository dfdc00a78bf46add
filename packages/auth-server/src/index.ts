/** What the controller takes from here for combined mode: the registry, and the server that answers from it. */

export { tellHead } from './audit-head.js';
export { AuthServer, type AuthServerOptions, type LinkAnswer } from './auth-server.js';
export { upgrade } from './upgrade.js';
export { RegistryObservation } from './observation.js';
export { Registry } from './registry.js';
export { watchStore } from './store-watch.js';
