/** The API as a caller on another machine has it. */

export { type Extras, RemoteOperations } from './remote-operations.js';
export { type ApiTarget, formatTarget, parsePin, parseTarget, PIN_SYNTAX, TARGET_SYNTAX } from './target.js';
