/** Which version a server has: in every answer to a caller that is known. */

export const VERSION_HEADER = 'latchkey-version';
