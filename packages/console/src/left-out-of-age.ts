/**
 * In place of modules that `age-encryption` imports and this page never calls: they are two thirds
 * of what opens age files. The page opens files with its own X25519 key only, which is WebCrypto's;
 * keys are encrypted on the server.
 */

const BASE_POINT = 9;
const LENGTH = 32;

/** `@noble/post-quantum/hybrid.js` */
export const MLKEM768P256 = undefined;
export const MLKEM768X25519 = undefined;
/** `@noble/hashes/scrypt.js`: files with a passphrase. */
export const scrypt = undefined;
/** `@noble/curves/ed25519.js`: for keys that are not WebCrypto's. Those need its base point too. */
export const x25519: { readonly GuBytes: Uint8Array } = {
  GuBytes: Uint8Array.from({ length: LENGTH }, (_, index) => (index === 0 ? BASE_POINT : 0)),
};
