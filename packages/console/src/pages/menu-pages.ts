/** Pages that are seldom opened: no part of the first page. */

export { AccountPage } from './account.js';
export { ExposurePage } from './exposure.js';
export { JobsPage } from './jobs.js';
export { UsersPage } from './users.js';
