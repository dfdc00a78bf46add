/** Keys sealed under a master key, the sources of the master key, and its rotation. */

export { KEY_KIND, type KeyContext, Keyring, type MetadataTable } from './keyring.js';
export { LmdbMetadata } from './lmdb-metadata.js';
export {
  findMasterKey,
  type MasterKeyOptions,
  masterKeyOptions,
  type MasterKeySource,
  readMasterKey,
  readOrCreateMasterKey,
} from './master-key.js';
export { announceAdoption, formerKeyNotice, nextMasterKey, type NextMasterKey, rotate } from './rotation.js';
