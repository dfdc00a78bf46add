/** API tokens, for the commands that make and revoke them. */

export { LIMITABLE_SCOPES, type Scope, TOKEN_SCOPES } from '../access.js';
export { limitsFrom } from '../order-limits.js';
export {
  addToken,
  MAX_LIFETIME_S,
  readTokenName,
  revokeToken,
  TOKEN_NAME_RULE,
  type TokenAdministration,
  type TokenView,
  viewToken,
} from './administration.js';
export { isNetwork } from './networks.js';
export { generateToken, isTokenId } from './token.js';
export { openTokenStore } from './token-store.js';
