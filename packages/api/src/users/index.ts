/** Users of the console, for commands that add and remove them, and for tests of the console. */

export { type Role, ROLES } from '../access.js';
export { limitsFrom } from '../order-limits.js';
export {
  addUser,
  createLink,
  isProviderName,
  isUserName,
  linkExpiry,
  removeUser,
  setRole,
  type SignInLink,
  USER_NAME_RULE,
  type UserAdministration,
} from './administration.js';
export { Passwords } from './password.js';
export { hashOfSecret } from './random-secret.js';
export { openUserStore, type UserStore } from './user-store.js';
