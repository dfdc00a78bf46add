import { type Cipher, createCipheriv } from 'node:crypto';
import type { Secret } from '@latchkey/protocol';

/**
 * Returns the permanent identifier of an IK: 8 octets of AES-128(identity key, IK), and 2 of its
 * fingerprint.
 */
export function initialKeyId(idKey: Secret, ik: Secret): Uint8Array {
  return initialKeyIdentifier(idKey)(ik);
}

/**
 * AES-128 under the identity key: the first 8 octets of each block that it gives are the identity
 * of an IK.
 */
export function identityCipher(identity: Secret): Cipher {
  return createCipheriv('aes-128-ecb', identity.expose(), null);
}

/** As `initialKeyId`, for many IKs: the key schedule is made once. */
export function initialKeyIdentifier(idKey: Secret): (ik: Secret) => Uint8Array {
  const cipher = identityCipher(idKey);
  return (ik) => {
    const octets = new Uint8Array(10);
    octets.set(cipher.update(ik.expose()).subarray(0, 8));
    octets.set(Buffer.from(ik.fingerprint, 'hex'), 8);
    return octets;
  };
}
