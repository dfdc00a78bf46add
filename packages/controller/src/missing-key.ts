/** Messages that say why the controller gives out no key of a node. */

import type { KeyState } from '@latchkey/key-delivery';
import { formatId } from '@latchkey/protocol';
import { STATE_FOLDERS } from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';

const REASONS: Readonly<Partial<Record<string, string>>> = {
  initial: 'has no key of its own: it has not joined, or was reset',
  disabled: 'is disabled',
  removed: 'is not in the registry any more',
  moved: 'is assigned to another controller',
  expired: 'has a key that has expired',
  withdrawn: 'has a key that the registry has not confirmed for longer than max_unverified',
} satisfies Record<Exclude<KeyState, 'current'>, string>;

/** @param state a `KeyState`, or another word if the controller does not know the node */
export function missingKey(idI: number, state: string): Failure {
  const id = formatId(idI);
  const reason = REASONS[state];
  const message =
    reason === undefined
      ? `this controller has no key of node ${id}`
      : `this controller gives out no key of node ${id}, which ${reason}`;
  if (state === 'withdrawn')
    return new Failure(message, {
      advice: 'The controller does not reach an auth-server. Its log says why, and so does /readyz.',
    });
  return new Failure(message, {
    advice: 'On the machine of the registry:',
    run: [['latchkey-auth-server', 'node', 'why', id, '--data', STATE_FOLDERS['auth-server']]],
  });
}
