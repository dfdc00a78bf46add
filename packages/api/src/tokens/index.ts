/** API tokens, for the commands that make and revoke them. */

export { LIMITABLE_SCOPES, type Scope, TOKEN_SCOPES } from '../access.js';
export { describeLimits, limitsFrom } from '../order-limits.js';
export { describeRecipients, MAX_RECIPIENTS } from '../key-recipients.js';
export { isNetwork } from './networks.js';
export { generateToken, isTokenId } from './token.js';
export { openTokenStore, type TokenStore } from './token-store.js';
