/**
 * age files in the page (https://age-encryption.org/v1). The library is loaded with the first of
 * them: most people who open the console hand out no keys.
 */

/** A key pair for one file, in this page only. */
export interface PageKey {
  /** `age1...` */
  readonly recipient: string;
  /** Returns what is in a file that is encrypted to the recipient. */
  readonly open: (file: Uint8Array) => Promise<Uint8Array>;
}

/** The private key cannot be exported: no script of the page can read it. */
export async function makePageKey(): Promise<PageKey> {
  const { Decrypter, identityToRecipient } = await import('age-encryption');
  const { privateKey } = await crypto.subtle.generateKey({ name: 'X25519' }, false, ['deriveBits']);
  return {
    recipient: await identityToRecipient(privateKey),
    open(file) {
      const decrypter = new Decrypter();
      decrypter.addIdentity(privateKey);
      return decrypter.decrypt(file);
    },
  };
}
