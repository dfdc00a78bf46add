import { cmac } from './cipher.js';
import { LABEL_NONCE, NONCE_LENGTH } from './constants.js';
import { Secret } from './secret.js';

/**
 * The nonce of a message under SK_cs: the first 13 octets of CMAC(EK(SK_cs, 0x1f), random | what is
 * sealed). To whoever lacks SK_cs it is as random as `random` is; and where a generator was set
 * back, as by resuming a machine's memory, two messages still have two nonces.
 *
 * @param random 13 octets from the system's generator
 * @param sealed type, associated data and plaintext of the message, or what they follow from; of a
 *   length that the type tells
 */
export function linkNonce(skCs: Secret, random: Uint8Array, ...sealed: readonly (Uint8Array | Secret)[]): Uint8Array {
  const octets = sealed.map((part) => (part instanceof Secret ? part.expose() : part));
  return cmac(skCs.ccmCipher(LABEL_NONCE), random, ...octets).slice(0, NONCE_LENGTH);
}
