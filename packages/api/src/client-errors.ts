/** Answers for requests that do not arrive in full, or that Node.js's parser refuses. */

import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { Problem } from './problem.js';

/** What Node.js's parser refuses has no request and no reply yet. */
export function answerClientError({ code }: { readonly code?: string }, socket: Socket): void {
  if (code === 'ECONNRESET' || !socket.writable) return void socket.destroy();
  socket.end(Problem.ofClientError(code).toResponse(), () => socket.destroy());
}

/** The body did not arrive in time. */
export function answerLate({ socket }: IncomingMessage, { headersSent }: ServerResponse): void {
  if (headersSent) socket.destroy();
  else answerClientError({ code: 'ERR_HTTP_REQUEST_TIMEOUT' }, socket);
}
