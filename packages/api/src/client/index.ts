/** The API as a caller on another machine has it. */

export { type ConfirmedLogin, logIn, LOGIN_SCOPES } from './command-login.js';
export { MAX_LIFETIME_S, MAX_MACHINE, MIN_LIFETIME_S } from '../command-login/contract.js';
export { type Extras, RemoteOperations } from './remote-operations.js';
export { type ApiTarget, formatTarget, parsePin, parseTarget, PIN_SYNTAX, TARGET_SYNTAX } from './target.js';
