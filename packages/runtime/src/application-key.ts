/** `key`, the command that node-agent and controller share: both ends of one application key. */

import { deriveApplicationKey, formatId, ID_LENGTH, KEY_LENGTH, type Secret } from '@latchkey/protocol';
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

/** The application key of node `idI` as one line; the context it is bound to is ID_i, 4 octets. */
export function formatApplicationKey(psk: Secret, idI: number, { label, octets, format }: ApplicationKeyOptions): string {
  const context = Buffer.alloc(ID_LENGTH);
  context.writeUInt32BE(idI);
  const key = Buffer.from(deriveApplicationKey(psk, label, context, octets));
  const text = format === 'json' ? JSON.stringify({ id: formatId(idI), label, key: key.toString('hex') }) : key.toString(format);
  key.fill(0);
  return `${text}\n`;
}

/** Says on standard error, where no script reads, that the node's key is over. `expiry`: ms since the epoch; `undefined`: never. */
export function warnIfExpired(idI: number, expiry: number | undefined): void {
  if (expiry === undefined || Date.now() <= expiry) return;
  process.stderr.write(
    `Warning: the key of node ${formatId(idI)}, which this one comes from, expired at ${new Date(expiry).toISOString()}. The node is to join again.\n`,
  );
}

function labelArgument(text: string): string {
  if (text === '' || text.includes('\0')) throw new InvalidArgumentError('expected a name for the use');
  return text;
}
