/** Private durable files, keys in files, and locks of folders. */

export { isBlankKey, NO_KEY } from './blank-key.js';
export { type FileLock, nativeLocks, openLockFile } from './file-lock.js';
export {
  checkPrivateFile,
  chownToFolderOwner,
  createFile,
  ensurePrivateFolder,
  exists,
  isTaken,
  linkIntoPlace,
  probeFolder,
  readOctets,
  readPlainFile,
  readPrivateFile,
  readStandardOctets,
  removeAside,
  replaceFile,
  syncFolderOf,
} from './files.js';
export { parseKey, readKeyFile, readSecretFile } from './key-file.js';
export { assertSamePidNamespace, type FolderLockState, LOCK_FILE, lockFolder, readFolderLock } from './lock.js';
export { removeOnSignal } from './signal-cleanup.js';
export { lockWithSocket, type SocketLock } from './socket-lock.js';
