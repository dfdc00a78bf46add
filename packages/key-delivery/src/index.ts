/** Hands the keys of nodes to the applications on the same machine. */

export type { FormerGeneration, KeyGeneration, KeySource, KeyState, NodeKeys } from './key-source.js';
