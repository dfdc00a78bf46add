/** Which of its link keys a controller used last, from what the server last saw of it. */

import type { ControllerView } from '@latchkey/operations/contract';

/**
 * `old`: another one is staged, and it has not used that. `former`: one that the registry had
 * before. `neither`: its requests do not open. `none`: nothing ever came. `unknown`: the server
 * noted it before it noted keys.
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
