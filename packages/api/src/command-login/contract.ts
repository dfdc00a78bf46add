/** What commands that ask to be signed in, the gateway and the API agree on. */

/** The gateway brings these requests to the socket for callers with tokens. */
export const BEGIN_PATH = '/v1/login/command';
export const FETCH_PATH = '/v1/login/command/token';
export const CANCEL_PATH = '/v1/login/command/cancel';
/** Lifetime of a token, in s: a session of the console lasts as long. */
export const MAX_LIFETIME_S: number = 12 * 3_600;
export const MIN_LIFETIME_S = 60;
/** Characters of the name of a machine. */
export const MAX_MACHINE = 48;
