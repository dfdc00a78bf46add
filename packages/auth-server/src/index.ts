/** What the controller takes from here: the way to open a store, and for combined mode the registry and the server that answers from it. */

export { AuthServer, type AuthServerOptions, type LinkAnswer } from './auth-server.js';
export { type ControllerRecord, type OrderRecord, type RegisteredNode, Registry } from './registry.js';
export { openStore, writeFailure } from './store.js';
export { watchStore } from './store-watch.js';
