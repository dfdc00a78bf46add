/**
 * The server wants the password again before it hands out keys, or changes users. A request that it
 * refuses for that waits here until the person has given it.
 */

import { Store } from './store.js';

export interface PasswordPrompt {
  /** Ends the wait of all requests, once. `true`: the password was right. */
  readonly answer: (given: boolean) => void;
}

/** What the dialog answers, while one is open. */
export const passwordPrompt: Store<PasswordPrompt | undefined> = new Store<PasswordPrompt | undefined>(undefined);
let asking: Promise<boolean> | undefined;

/** Returns whether the person gave the password. Requests that ask at once share one dialog. */
export function askForPassword(): Promise<boolean> {
  asking ??= new Promise<boolean>((resolve) => {
    const prompt: PasswordPrompt = {
      answer(given) {
        if (passwordPrompt.value !== prompt) return;
        passwordPrompt.set(undefined);
        asking = undefined;
        resolve(given);
      },
    };
    passwordPrompt.set(prompt);
  });
  return asking;
}
