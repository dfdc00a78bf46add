/** How keys are kept on disk: LMDB opened the one safe way, and each key sealed under the store's master key. */

export { DamagedStore } from './damage.js';
export { type About, Keyring, type Place, PLACE } from './keyring.js';
export {
  createMasterKey,
  findMasterKey,
  type MasterKeyOptions,
  masterKeyOptions,
  type MasterKeySource,
  readMasterKey,
  readOrCreateMasterKey,
  replaceMasterKey,
} from './master-key.js';
export { STORE_FILE } from './files.js';
export { checkStore, entriesIn, openStore, writeFailure } from './open.js';
export { resealTable } from './reseal.js';
export { aboutFormer, nextMasterKey, type NextMasterKey, rotate, tellServing } from './rotation.js';
export { rowsFrom } from './slices.js';
export { isStored, storedOctets } from './stored-octets.js';
