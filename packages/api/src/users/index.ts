/** Users of the console, for the commands that add and remove them. */

export { type Role, ROLES } from '../access.js';
export { limitsFrom } from '../order-limits.js';
export {
  addUser,
  createLink,
  isProviderName,
  isUserName,
  removeUser,
  setRole,
  type SignInLink,
  USER_NAME_RULE,
  type UserAdministration,
} from './administration.js';
export { openUserStore, type UserStore } from './user-store.js';
