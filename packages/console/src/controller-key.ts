/** Which of its link keys a controller used last, from what the server last saw of it. */

import type { ControllerView } from '@latchkey/operations/contract';

/**
 * `old`: another key is staged, and the controller has not used it. `former`: an earlier key of the
 * registry. `neither`: its requests do not decrypt. `none`: no request ever. `unknown`: the record
 * is of a version that did not record keys.
 */
export type KeyUse = 'current' | 'old' | 'former' | 'neither' | 'none' | 'unknown';

type Seen = Pick<ControllerView, 'key' | 'staged_key' | 'used_key' | 'last_seen_at' | 'authentication_failing_since'>;

export function keyUseOf({ key, staged_key: staged, used_key: used, ...seen }: Seen): KeyUse {
  if (seen.authentication_failing_since !== null) return 'neither';
  if (seen.last_seen_at === null) return 'none';
  if (used === null) return 'unknown';
  if (used !== key) return 'former';
  return staged === null ? 'current' : 'old';
}
