/** LMDB stores: safe opening, paged scans, raw values, rewrapping of sealed rows. */

export { DamagedStore } from './damage.js';
export { STORE_FILE } from './files.js';
export { MOVE_NOTICED_MS } from './in-place.js';
export { checkStore, countEntries, openStore, writeFailure } from './open.js';
export { rawValueEquals, readRawValue } from './raw-value.js';
export { rewrapTable } from './rewrap.js';
export { scanTable, scanTableBackwards } from './scan.js';
