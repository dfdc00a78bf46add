/** Client of a Latchkey daemon's key socket. It depends on nothing but Node.js. */

export { KeysError, type KeysErrorCode } from './keys-error.js';
export { lookup, type LookupOptions, type NodeKey } from './lookup.js';
export { type PskCallback, pskCallback, type PskCallbackOptions } from './psk-callback.js';
export {
  type FormerKey,
  type KeyEvent,
  type NodeKeyEvent,
  type RevocationEvent,
  subscribe,
  type SubscribeOptions,
  type Subscription,
} from './subscribe.js';
