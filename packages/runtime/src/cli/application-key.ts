/** `key`, the command that node-agent and controller share: both ends of one application key. */

import { deriveApplicationKey, formatId, isReservedLabel, KEY_LENGTH, type Secret } from '@latchkey/protocol';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { integerArgument } from './cli.js';

export interface ApplicationKeyOptions {
  readonly label: string;
  readonly octets: number;
  readonly format: 'hex' | 'base64' | 'json';
}

export function applicationKeyOptions(command: Command): Command {
  return command
    .requiredOption(
      '--label <label>',
      'names the use, e.g. dtls-psk or oscore-master-secret; another label, another key',
      labelArgument,
    )
    .option('--octets <n>', 'length of the key', integerArgument(1, 255), KEY_LENGTH)
    .addOption(new Option('--format <format>', 'how it is printed').choices(['hex', 'base64', 'json']).default('hex'));
}

/** The application key of node `idI` as one line. */
export function formatApplicationKey(
  applicationRoot: Secret,
  idI: number,
  { label, octets, format }: ApplicationKeyOptions,
): string {
  const derived = deriveApplicationKey(applicationRoot, label, idI, octets);
  const key = Buffer.from(derived);
  derived.fill(0);
  const text = format === 'json' ? JSON.stringify({ id: formatId(idI), label, key: key.toString('hex') }) : key.toString(format);
  key.fill(0);
  return `${text}\n`;
}

/**
 * Says on standard error, where no script reads, that the node's key is over. `expiry`: ms since
 * the epoch; `undefined`: never.
 */
export function warnIfExpired(idI: number, expiry: number | undefined): void {
  if (expiry === undefined || Date.now() <= expiry) return;
  process.stderr.write(
    `Warning: the key of node ${formatId(idI)}, which this one comes from, expired at ${new Date(expiry).toISOString()}. The node is to join again.\n`,
  );
}

function labelArgument(text: string): string {
  if (text === '' || text.includes('\0')) throw new InvalidArgumentError('expected a name for the use');
  if (isReservedLabel(text))
    throw new InvalidArgumentError('labels that begin with "latchkey " are reserved; choose another, as dtls-psk');
  return text;
}
