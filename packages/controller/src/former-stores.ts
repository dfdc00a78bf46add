/** Stores of earlier versions. */

import { UsageFailure } from '@latchkey/runtime/failure';

/** What to say of a store of keys from before there were application roots. */
export function holdsPsks(path: string): UsageFailure {
  return new UsageFailure(`${path} holds PSKs of nodes, which a controller no longer keeps`, {
    advice: 'Remove it, with no controller running on it. The keys come back from the registry.',
    run: [['rm', '-r', path]],
  });
}
