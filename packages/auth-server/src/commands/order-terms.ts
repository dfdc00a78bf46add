/** What commands about orders share: which order, and on which terms. */

import { formatDuration, integerArgument, parseDuration, UsageFailure } from '@latchkey/runtime';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_GRACE } from '../enrolment.js';
import { registryOptions } from './with-registry.js';

/** Seconds: 30 days. */
const DEFAULT_LIFETIME = 2_592_000;

/** How long the keys of ordered nodes last, in seconds. */
export function lifetimeOption(): Option {
  return new Option('--lifetime <duration>', 'of the keys they get: 45s, 90m, 12h, 30d, 2w, or none')
    .argParser(durationArgument)
    .default(DEFAULT_LIFETIME, formatDuration(DEFAULT_LIFETIME));
}

/** How long an expired key may still renew itself, in seconds. */
export function graceOption(): Option {
  return new Option('--grace <duration>', 'how long an expired key may still renew itself; none: not at all')
    .argParser(durationArgument)
    .default(DEFAULT_GRACE, formatDuration(DEFAULT_GRACE));
}

export function durationArgument(text: string): number {
  const seconds = parseDuration(text);
  if (seconds === undefined) throw new InvalidArgumentError('expected e.g. 45s, 90m, 12h, 30d, 2w, or none; 136 years at most');
  return seconds;
}

/** Characters of an installer's name: every row of a list is as wide as the longest. */
const MAX_NAME = 128;

export function installerArgument(text: string): string {
  const name = text.trim();
  const { length } = Array.from(name);
  if (length === 0 || length > MAX_NAME || /\p{Cc}/u.test(name))
    throw new InvalidArgumentError(`expected a name of 1 to ${MAX_NAME} characters, on one line`);
  return name;
}

/** A name made of a file's: what does not fit is left out, from its front. */
export function installerOfFile(path: string): string {
  return Array.from(path.replaceAll(/\p{Cc}/gu, '?'))
    .slice(-MAX_NAME)
    .join('');
}

/** A time, ms since the epoch: ISO 8601 with its zone, or a date, which begins in UTC. */
export function timeArgument(text: string): number {
  const time = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:\d\d))?$/.test(text)
    ? Date.parse(text)
    : Number.NaN;
  if (Number.isNaN(time) || !isDay(text.slice(0, 10)))
    throw new InvalidArgumentError('expected a time such as 2026-12-01 or 2026-12-01T08:00Z');
  return time;
}

/** A command about one order. */
export function orderOf(command: Command): Command {
  return registryOptions(command.argument('<number>', 'of the order', integerArgument(1, 0xffff_ffff)));
}

/** Refuses a window that is never open. */
export function checkWindow(from: number | undefined, until: number | undefined): void {
  if (from !== undefined && until !== undefined && from >= until) {
    throw new UsageFailure('--join-until is not after --join-from', { advice: 'Nothing was changed.' });
  }
  if (until !== undefined && until <= Date.now()) {
    throw new UsageFailure('--join-until is over already', {
      advice: 'Nothing was changed. To shut an order: latchkey-auth-server order shut',
    });
  }
}

export function joinWindow(
  joinFrom: number | undefined,
  joinUntil: number | undefined,
): { joinFrom?: number; joinUntil?: number } {
  return { ...(joinFrom === undefined ? {} : { joinFrom }), ...(joinUntil === undefined ? {} : { joinUntil }) };
}

/** Date.parse takes the 31st of February for the 3rd of March. */
function isDay(date: string): boolean {
  return new Date(`${date}T00:00Z`).toISOString().startsWith(date);
}
