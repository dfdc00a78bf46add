/** Options of commands that make API tokens. */

import { parseDuration } from '@latchkey/runtime/config';
import { InvalidArgumentError } from 'commander';

/** Collects scopes, of those that the token may have. */
export function scopeArgument<S extends string>(
  allowed: readonly S[],
): (text: string, before: readonly S[] | undefined) => readonly S[] {
  return (text, before = []) => {
    const scope = allowed.find((one) => one === text);
    if (scope === undefined) throw new InvalidArgumentError(`expected one of ${allowed.join(', ')}`);
    return [...new Set([...before, scope])];
  };
}

/**
 * Reads a lifetime in seconds.
 *
 * @param expected completes the error
 */
export function lifetimeArgument(min: number, max: number, expected: string): (text: string) => number {
  return (text) => {
    const seconds = parseDuration(text);
    if (seconds === undefined || seconds < min || seconds > max)
      throw new InvalidArgumentError(`expected a time such as ${expected}`);
    return seconds;
  };
}
