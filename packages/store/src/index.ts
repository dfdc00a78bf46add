/** How keys are kept on disk: LMDB opened the one safe way, and each key sealed under the store's master key. */

export { DamagedStore } from './damage.js';
export { type MetadataTable, Keyring, type KeyContext, KEY_KIND } from './keyring.js';
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
export { checkStore, countEntries, openStore, writeFailure } from './open.js';
export { rewrapTable } from './reseal.js';
export { formerKeyNotice, nextMasterKey, type NextMasterKey, rotate, announceAdoption } from './rotation.js';
export { scanTable } from './slices.js';
export { rawValueEquals, readRawValue } from './stored-octets.js';
