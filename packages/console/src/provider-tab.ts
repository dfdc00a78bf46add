/**
 * A sign-in at the provider in another tab, so that nothing typed in this page is lost. The
 * provider sends that tab to a page of the console, which hands the answer to the page that waits
 * for it. The two have no reference to each other: Cross-Origin-Opener-Policy cuts it when the tab
 * goes to the provider. A BroadcastChannel reaches every page of this origin.
 */

import type { Problem } from './api.js';

const CHANNEL = 'latchkey.provider-answer';

function post(channel: BroadcastChannel, message: Message): void {
  // Only windows have a target origin; a channel has one origin.
  // oxlint-disable-next-line unicorn/require-post-message-target-origin
  channel.postMessage(message);
}

/** At the provider. */
export interface StartedSignIn {
  readonly location: string;
  /** For this page: it must come with the answer. */
  readonly secret: string;
}

/** Progress of an answer in the waiting page: `taken` first, then the result. */
export type AnswerState = 'taken' | 'accepted' | Problem;

type Message =
  | { readonly kind: 'answer'; readonly query: string }
  | { readonly kind: 'state'; readonly of: string; readonly state: AnswerState };

/** Pairs an answer with its request. The server compares it as well, and does not rely on this. */
function stateOf(query: string): string | null {
  return new URLSearchParams(query).get('state');
}

/**
 * Waits for the provider's answer to a sign-in, once.
 *
 * @param finish brings the answer to the server
 * @returns stops the wait
 */
export function awaitAnswer(started: StartedSignIn, finish: (query: string) => Promise<Problem | undefined>): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  const expected = stateOf(new URL(started.location).search);
  const take = async (query: string): Promise<void> => {
    const reply = (state: AnswerState): void => post(channel, { kind: 'state', of: query, state });
    reply('taken');
    reply((await finish(query)) ?? 'accepted');
  };
  let isTaken = false;
  channel.addEventListener('message', ({ data }: MessageEvent<Message>) => {
    if (isTaken || data.kind !== 'answer' || stateOf(data.query) !== expected) return;
    isTaken = true;
    void take(data.query).finally(() => channel.close());
  });
  return () => {
    if (!isTaken) channel.close();
  };
}

/**
 * Hands an answer to the page that waits for it.
 *
 * @returns stops listening
 */
export function handOverAnswer(query: string, onState: (state: AnswerState) => void): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.addEventListener('message', ({ data }: MessageEvent<Message>) => {
    if (data.kind === 'state' && data.of === query) onState(data.state);
  });
  post(channel, { kind: 'answer', query });
  return () => channel.close();
}
