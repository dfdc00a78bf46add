/**
 * Step-up: the server requires the password again before it hands out keys or changes users. A
 * request that was rejected for this reason waits here until the user has entered the password,
 * here or at the sign-in provider.
 */

import { Store } from './store.js';

export interface StepUp {
  /** Ends the wait of all requests, once. `true`: the server knows the person again. */
  readonly answer: (given: boolean) => void;
}

/** What the dialog answers, while one is open. */
export const openStepUp: Store<StepUp | undefined> = new Store<StepUp | undefined>(undefined);
let asking: Promise<boolean> | undefined;

/** Returns true if the user entered the password. Concurrent requests share one dialog. */
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
