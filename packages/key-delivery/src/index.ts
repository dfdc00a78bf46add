/** Hands the keys of nodes to the applications on the same machine. */

export { type KeySocketSettings, keysSchema } from './config.js';
export { KeyServer, type KeyServerOptions } from './key-server.js';
export type { FormerGeneration, KeyGeneration, KeySource, KeyState, NodeKeys } from './key-source.js';
