/**
 * The server wants to know again who is there before it hands out keys, or changes users. A request
 * that it refuses for that waits here until the person has given the password, here or at the
 * sign-in provider.
 */

import { Store } from './store.js';

export interface StepUp {
  /** Ends the wait of all requests, once. `true`: the server knows the person again. */
  readonly answer: (given: boolean) => void;
}

/** What the dialog answers, while one is open. */
export const openStepUp: Store<StepUp | undefined> = new Store<StepUp | undefined>(undefined);
let asking: Promise<boolean> | undefined;

/** Returns whether the person gave the password. Requests that ask at once share one dialog. */
export function askForStepUp(): Promise<boolean> {
  asking ??= new Promise<boolean>((resolve) => {
    const stepUp: StepUp = {
      answer(given) {
        if (openStepUp.value !== stepUp) return;
        openStepUp.set(undefined);
        asking = undefined;
        resolve(given);
      },
    };
    openStepUp.set(stepUp);
  });
  return asking;
}
