/** The registry in memory, with faults to order: for simulation. */

export { type Fate, MemoryDatabase, MemoryStorage, type Scheduler } from './memory-storage.js';
export type { FeedSource } from '../snapshot-key-feed.js';
export { type Decide, type Keys, type Outcome, Unavailable } from '../storage.js';
