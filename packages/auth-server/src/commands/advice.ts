/** The steps of an action as text, with command lines to paste. */

import { type Step, stepsFor } from '@latchkey/operations';
import type { Action } from '@latchkey/operations/contract';
import { commandToRun } from '@latchkey/runtime/cli';
import type { Command } from 'commander';

/** What to do, and what to do instead. */
export function formatAdvice(action: Action, instead: Action | null, called: Command): string {
  const other = instead === null ? '' : `Or else:\n${formatSteps(stepsFor(instead), called)}`;
  return `${formatSteps(stepsFor(action), called)}${other}`;
}

/** Each step on its line, and the command to paste on the next. */
function formatSteps(steps: readonly Step[], called: Command): string {
  return steps
    .map(({ says, command }) => `${says}\n${command === undefined ? '' : `${commandToRun(command, called)}\n`}`)
    .join('');
}
