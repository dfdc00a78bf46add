/**
 * Requests keys from the controller that runs on a state folder, through the socket in that folder.
 * It loads only node:net, because the command must start fast.
 */

import { connect } from 'node:net';
import { join } from 'node:path';
import type { PrintedGeneration } from '@latchkey/runtime/key-output';

/** In the state folder, for commands of the controller's own user and root. */
export const OWN_SOCKET = 'keys.sock';
/** For the answer, in ms: a disk that hangs holds it up. */
const TIMEOUT_MS = 5_000;

export interface KeyQuery {
  /** ID_i, 8 lower-case hex digits. */
  readonly id: string;
  readonly label: readonly string[];
  readonly octets: number;
  readonly allowExpired: boolean;
}

/** The current generation, then the former ones that peers may still use. */
export type DaemonAnswer = { readonly generations: readonly PrintedGeneration[] } | { readonly error: string };

/** Returns `undefined` if no controller answers there: then the store has the keys. */
export function askDaemon(state: string, query: KeyQuery): Promise<DaemonAnswer | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(join(state, OWN_SOCKET));
    socket.setTimeout(TIMEOUT_MS, () => socket.destroy());
    socket.setEncoding('utf8');
    socket.on('connect', () => {
      const request = { get: query.id, labels: query.label, octets: query.octets, allow_expired: query.allowExpired };
      socket.write(`${JSON.stringify(request)}\n`);
    });
    socket.on('data', (part: string) => {
      text += part;
      if (!text.includes('\n')) return;
      resolve(answerIn(text));
      socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(undefined));
  });
}

/** `undefined` if the controller says that it cannot answer. */
function answerIn(text: string): DaemonAnswer | undefined {
  const answer = JSON.parse(text) as
    | { readonly code: string }
    | { readonly error: string }
    | (PrintedGeneration & { readonly previous: readonly PrintedGeneration[] });
  if ('code' in answer) return undefined;
  if ('error' in answer) return { error: answer.error };
  const { previous, ...current } = answer;
  return { generations: [current, ...previous] };
}
