/** The one place where the simulator takes a key out of a Secret. */

import type { Secret } from '@latchkey/protocol';

/** A key as the simulated disks hold it and the checkers compare it. */
export function keyText(secret: Secret): string {
  return secret.toHex();
}

/**
 * A key as the bare cipher takes it: for mutants that seal and open otherwise than the profile
 * says.
 */
export function keyOctets(secret: Secret): Uint8Array {
  return secret.expose();
}
