/** Hands the keys of nodes to the applications on the same machine. */

export { DEFAULT_OVERLAP_MS, durationMsSchema, type KeySocketSettings, keysSchema } from './config.js';
export { openKeySockets, type KeySocketsOptions } from './key-sockets.js';
export { type FirstUse, KeyServer, type KeyServerOptions } from './key-server.js';
export type { FormerGeneration, KeyGeneration, KeySource, KeyState, NodeKeys } from './key-source.js';
