/** Requests with a large body. A body is held in memory, so only a few are admitted at a time. */

import type { Principal } from './access.js';
import { Problem } from './problem.js';

/** Path for a file of nodes. The gateway admits a large body on this path only. */
export const IMPORTS_PATH = '/v1/imports';
/** Octets of a file of nodes: 100,000 lines and more. */
export const MAX_IMPORT_FILE: number = 8 * 1024 * 1024;
/** Octets of the body: the file is encrypted, and in base64. */
export const MAX_IMPORT_BODY: number = 12 * 1024 * 1024;
/** Of one caller, and of all. At the bound a request is answered 503, before its body is read. */
const MAX_PER_CALLER = 1;
export const MAX_AT_ONCE = 4;
const RETRY_AFTER_S = 5;

export class LargeBodies {
  readonly #owners = new Map<symbol, string>();

  /**
   * Admits a request. Call the returned function once the request is answered.
   *
   * @throws Problem at the bound
   */
  take({ id }: Principal): () => void {
    const own = [...this.#owners.values()].filter((owner) => owner === id).length;
    if (own >= MAX_PER_CALLER || this.#owners.size >= MAX_AT_ONCE)
      throw new Problem('busy', { detail: 'Other files are being sent.', retryAfter: RETRY_AFTER_S });
    const request = Symbol(id);
    this.#owners.set(request, id);
    return () => void this.#owners.delete(request);
  }
}
