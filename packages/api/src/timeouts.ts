/** How long the programs of a request wait for each other, in ms. */

/** The gateway for an answer of the API: some read the whole registry. */
export const ANSWER_TIMEOUT_MS = 120_000;
/** A command for the next octet: whoever stands nearer to the API gives up first, and says so. */
export const CLIENT_TIMEOUT_MS: number = ANSWER_TIMEOUT_MS + 10_000;
/** The API for anything to happen on a connection. */
export const CONNECTION_TIMEOUT_MS: number = CLIENT_TIMEOUT_MS + 10_000;
