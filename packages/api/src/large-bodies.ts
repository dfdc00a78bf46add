/** Requests with a large body. A body is held in memory, so only a few are admitted at a time. */

import { ConcurrencyLimit } from './concurrency-limit.js';

/** Path for a file of nodes. The gateway admits a large body on this path only. */
export const IMPORTS_PATH = '/v1/imports';
/** Octets of a file of nodes: 100,000 lines and more. */
export const MAX_IMPORT_FILE: number = 8 * 1024 * 1024;
/** Octets of the body: the file is encrypted, and in base64. */
export const MAX_IMPORT_BODY: number = 12 * 1024 * 1024;

/** At the bound a request is refused before its body is read. */
export function limitLargeBodies(): ConcurrencyLimit {
  return new ConcurrencyLimit('Other files are being sent.');
}
