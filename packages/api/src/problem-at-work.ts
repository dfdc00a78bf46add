import { PartlyDone } from '@latchkey/operations';
import type { OrderLimits } from '@latchkey/operations/contract';
import { InDoubt } from '@latchkey/registry';
import { formatCommandLine } from '@latchkey/runtime/cli';
import { Problem } from './problem.js';

/**
 * Returns the answer to a caller after a failure at work. The failure's own message may name paths
 * of this machine, so it goes to the log only.
 *
 * @param limits of the caller
 * @param retryAfter seconds after which the caller may retry, if nothing was changed
 */
export function problemAtWork(error: unknown, limits: OrderLimits | undefined, retryAfter?: number): Problem {
  const done = error instanceof PartlyDone ? `${error.done}. ` : '';
  const doubt = doubtOf(error);
  if (doubt === undefined)
    return new Problem('unavailable', {
      detail: `${done}The log of the API says why.`,
      advice: error instanceof PartlyDone ? error.advice : undefined,
      retryAfter,
    });
  const detail = `${done}It is not known whether the registry took ${done === '' ? 'the change' : 'the next part'}. The log of the API says why.`;
  // Entry numbers reveal changes to orders of others.
  if (limits !== undefined)
    return new Problem('unavailable', { detail, advice: 'Ask an administrator what the audit log has of it.' });
  const advice = [doubt.advice, error instanceof PartlyDone ? error.advice : undefined].filter((text) => text !== undefined);
  return new Problem('unavailable', {
    detail,
    advice: advice.length === 0 ? undefined : advice.toReversed().join(' '),
    ...(doubt.run.length === 0 ? {} : { run: doubt.run.map(formatCommandLine) }),
  });
}

/** The doubt that an error is, or came from. */
function doubtOf(error: unknown): InDoubt | undefined {
  for (let one = error; one instanceof Error; one = one.cause) if (one instanceof InDoubt) return one;
  return undefined;
}
