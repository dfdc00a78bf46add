/** What the controller's combined mode takes from here: the registry, and the server that answers from it. */

export { AuthServer, type AuthServerOptions, type LinkAnswer } from './auth-server.js';
export { type ControllerRecord, type OrderRecord, type RegisteredNode, Registry } from './registry.js';
export { watchStore } from './store-watch.js';
