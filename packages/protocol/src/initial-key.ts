/** Split initial keys: IK_i from a secret of the device and a half that the installer is given. */

import { aes128 } from './cipher.js';
import { Secret } from './secret.js';

/**
 * Returns `IK_i = AES-128(DK_i, h) XOR h`, a new Secret that the caller wipes.
 *
 * Without the XOR, AES could be inverted: DK_i and one extracted IK_i would give `h`, which an
 * order may share among its nodes.
 *
 * @param deviceKey DK_i, which the manufacturer puts into the device
 * @param installerHalf `h`, from the manifest or the label
 */
export function deriveInitialKey(deviceKey: Secret, installerHalf: Secret): Secret {
  const half = installerHalf.expose();
  const octets = aes128(deviceKey.expose(), half);
  for (let i = 0; i < octets.length; i++) octets[i]! ^= half[i]!;
  const ik = Secret.from(octets);
  octets.fill(0);
  return ik;
}
