/** Health of a controller, from the activity that the server last recorded. */

import type { ControllerView } from '@latchkey/operations/contract';

/**
 * `key`: its requests do not decrypt. `clock`: its clock differs too much. `silent`: no request for
 * longer than from a running controller. `unheard`: no request ever.
 */
export type Health = 'key' | 'clock' | 'silent' | 'unheard' | 'well';

/** Worst first. */
export const HEALTHS: readonly Health[] = ['key', 'clock', 'silent', 'unheard', 'well'];

/**
 * Nodes that are late try again every 10 minutes: a controller is heard more often than this, in
 * ms. `node why` has the same limit.
 */
const SILENCE_MS = 660_000;

export function healthOf(controller: ControllerView, now: number): Health {
  if (controller.authentication_failing_since !== null) return 'key';
  if (controller.clock_skew_ms !== null) return 'clock';
  if (controller.last_seen_at === null) return 'unheard';
  return now - Date.parse(controller.last_seen_at) > SILENCE_MS ? 'silent' : 'well';
}
