/** The store of application roots that a daemon gives out keys from. */

export { ApplicationRootStore, type StoreOptions, type SyncOutcome } from './application-root-store.js';
export type { FeedProgress } from './feed-progress.js';
