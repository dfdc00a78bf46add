/** What commands about orders share: which order, and on which terms. */

import { endTimeArgument, type GivenTime, integerArgument, startTimeArgument, TIME_HELP } from '@latchkey/runtime/cli';
import { DEVICE_KEYS_HELP } from '@latchkey/provisioning';
import { formatDuration, parseDuration } from '@latchkey/runtime/config';
import { type CommandLine, UsageFailure } from '@latchkey/runtime/failure';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { DEFAULT_GRACE, windowFault } from '@latchkey/operations';
import { type JoinWindowInput, MAX_NAME, TEXT_LIMITS, UNSEEN } from '@latchkey/operations/contract';
import { isoTime } from '@latchkey/runtime/iso-time';
import { operationOptions } from './registry-command.js';

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

export function installerArgument(text: string): string {
  const name = text.trim();
  const { length } = Array.from(name);
  if (length === 0 || length > MAX_NAME || UNSEEN.test(name))
    throw new InvalidArgumentError(`expected a name of 1 to ${MAX_NAME} characters that can be seen, on one line`);
  return name;
}

/** Contact of the installer, and location of the nodes. */
export interface OrderTextOptions {
  readonly contact?: string;
  readonly site?: string;
}

export function orderTextOptions(command: Command): Command {
  return command
    .option('--contact <text>', `how the installer is reached, ${TEXT_LIMITS.contact} characters at most`)
    .option('--site <text>', `where the nodes are, ${TEXT_LIMITS.site} characters at most`);
}

/** A name made of a file's: what does not fit is left out, from its front. */
export function installerOfFile(path: string): string {
  return Array.from(path.replaceAll(new RegExp(UNSEEN, 'gu'), '?'))
    .slice(-MAX_NAME)
    .join('');
}

/** Source of the device keys of nodes, and their other holder. */
export interface DeviceKeyOptions {
  readonly deviceKeys?: string;
  readonly manufacturer?: string;
}

/** What to do with a manifest or labels of split keys. */
export const INSTALLER_HALVES =
  "The keys in it are the installer's halves: each device needs its device key, too (latchkey-node-agent provision).\n";

/** @param what description of the initial keys, if device keys exist */
export function deviceKeyOptions(command: Command, what: string): Command {
  return command
    .option(
      '--device-keys <file>',
      `mode 0600, the manufacturer's device keys, ${DEVICE_KEYS_HELP}: ${what}; - reads standard input`,
    )
    .option('--manufacturer <name>', 'who else holds the device keys (default: the name of the file)', installerArgument);
}

/** Returns who holds the device keys, or `undefined` if none were given. */
export function manufacturerFrom({ deviceKeys, manufacturer }: DeviceKeyOptions): string | undefined {
  if (deviceKeys !== undefined) return manufacturer ?? installerOfFile(deviceKeys);
  if (manufacturer === undefined) return undefined;
  throw new UsageFailure('--manufacturer is of --device-keys, which is missing', { advice: 'Nothing was changed. Give both.' });
}

/** Two files of one command cannot both come from standard input. */
export function rejectBothFromStandardInput(deviceKeys: string | undefined, other: string | undefined): void {
  if (deviceKeys !== '-' || other !== '-') return;
  throw new UsageFailure('standard input cannot be both the device keys and another file', {
    advice: 'Nothing was changed. Put one of them into a file of mode 0600.',
  });
}

/** When the nodes of an order may join for the first time. */
export interface JoinWindow {
  readonly joinFrom?: GivenTime;
  readonly joinUntil?: GivenTime;
}

export function joinWindowOptions(command: Command): Command {
  return command
    .option('--join-from <time>', `no node joins for the first time before: ${TIME_HELP}`, startTimeArgument)
    .option('--join-until <time>', `no node joins for the first time after: ${TIME_HELP}`, endTimeArgument);
}

/** A command about one order. */
export function withOrderNumber(command: Command): Command {
  return operationOptions(command.argument('<number>', 'of the order', integerArgument(1, 0xffff_ffff)));
}

/**
 * Rejects a window that is never open.
 *
 * @param suspend the command that stops first joins immediately, if the order exists
 */
export function checkWindow(window: JoinWindow, suspend?: CommandLine): void {
  const fault = windowFault(storedWindow(window), Date.now());
  const [from, until] = [window.joinFrom?.text, window.joinUntil?.text];
  if (fault === 'reversed')
    throw new UsageFailure(`--join-until ${until} is not after --join-from ${from}`, { advice: 'Nothing was changed.' });
  if (fault === 'over') {
    throw new UsageFailure(`--join-until ${until} is over already`, {
      advice: `Nothing was changed.${suspend === undefined ? '' : ' To suspend the order:'}`,
      run: suspend === undefined ? [] : [suspend],
    });
  }
}

/** The window in ms since the epoch. */
export function storedWindow({ joinFrom, joinUntil }: JoinWindow): { joinFrom?: number; joinUntil?: number } {
  return {
    ...(joinFrom === undefined ? {} : { joinFrom: joinFrom.at }),
    ...(joinUntil === undefined ? {} : { joinUntil: joinUntil.at }),
  };
}

/** The window as operations take it. */
export function windowInput({ joinFrom, joinUntil }: JoinWindow): JoinWindowInput {
  return {
    join_from: joinFrom === undefined ? undefined : isoTime(joinFrom.at),
    join_until: joinUntil === undefined ? undefined : isoTime(joinUntil.at),
  };
}

/** ` from TIME until TIME`, each with its zone; empty without a window. */
export function describeWindow({ joinFrom, joinUntil }: JoinWindow): string {
  const from = joinFrom === undefined ? '' : ` from ${joinFrom.text}`;
  return `${from}${joinUntil === undefined ? '' : ` until ${joinUntil.text}`}`;
}
