/**
 * In place of `@noble/post-quantum/hybrid.js` in the bundle, which is half of what opens age files.
 * The page opens a file with its own X25519 key only; keys are encrypted on the server.
 */

export const MLKEM768P256 = undefined;
export const MLKEM768X25519 = undefined;
