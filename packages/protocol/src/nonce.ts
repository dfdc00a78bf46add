import { cmac } from './cipher.js';
import { LABEL_NONCE, NONCE_LENGTH } from './constants.js';
import { Secret } from './secret.js';

/**
 * Returns the nonce of a message under SK_cs: the first 13 octets of CMAC(EK(SK_cs, 0x1f), random |
 * sealed). Without SK_cs, the nonce is as unpredictable as `random`. If a generator repeats itself,
 * for example after a memory snapshot was resumed, two messages still have two nonces.
 *
 * @param random 13 octets from the system's generator
 * @param sealed type, associated data and plaintext of the message, or their inputs; the type
 *   determines the length
 */
export function linkNonce(skCs: Secret, random: Uint8Array, ...sealed: readonly (Uint8Array | Secret)[]): Uint8Array {
  const octets = sealed.map((part) => (part instanceof Secret ? part.expose() : part));
  return cmac(skCs.ccmCipher(LABEL_NONCE), random, ...octets).slice(0, NONCE_LENGTH);
}
