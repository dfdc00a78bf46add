/** What is asked and what is answered, by the sizes of the messages (docs/PROTOCOL.md). */

import { LENGTH } from '@latchkey/protocol';

/**
 * Of a request from a node: what the controller asks the auth-server then, and what it answers the
 * node at last.
 */
export const NODE_REQUESTS: ReadonlyMap<number, { readonly request: Buffer; readonly answer: Buffer }> = new Map([
  [LENGTH.M1, { request: Buffer.alloc(LENGTH.M2, 1), answer: Buffer.alloc(LENGTH.M4, 1) }],
  [LENGTH.M5, { request: Buffer.alloc(LENGTH.M7, 1), answer: Buffer.alloc(LENGTH.M6, 1) }],
]);

/**
 * Of a request from a controller: what the auth-server answers, and whether it writes before that.
 */
export const LINK_REQUESTS: ReadonlyMap<number, { readonly answer: Buffer; readonly durable: boolean }> = new Map([
  [LENGTH.M2, { answer: Buffer.alloc(LENGTH.M3, 1), durable: false }],
  [LENGTH.M7, { answer: Buffer.alloc(LENGTH.M8, 1), durable: true }],
]);

/** Octets of a node's row in the store, roughly. */
export const ROW_LENGTH = 200;
