/** `key`, the command that node-agent and controller share: both ends of application keys. */

import { isReservedLabel, KEY_LENGTH } from '@latchkey/protocol';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { integerArgument } from './cli.js';
import type { KeyFormat, KeyOutputOptions } from '../key-output.js';

export interface ApplicationKeyOptions extends KeyOutputOptions {
  readonly octets: number;
  readonly previous?: true;
  readonly all?: true;
  readonly allowExpired?: true;
}

/** Those of `key-output`, which is loaded later. */
const FORMATS: readonly KeyFormat[] = ['hex', 'base64', 'json'];
/** Labels of one call. */
const MAX_LABELS = 16;

export function applicationKeyOptions(command: Command): Command {
  return command
    .requiredOption(
      '--label <label>',
      'names the use, e.g. dtls-psk or oscore-master-secret; may be given again: all keys are of one generation',
      labelArgument,
    )
    .option('--octets <n>', 'length of the key', integerArgument(1, 255), KEY_LENGTH)
    .addOption(new Option('--format <format>', 'how it is printed').choices(FORMATS).default('hex'))
    .option('--kid', 'the key identifier before each key')
    .addOption(new Option('--previous', 'the former key, while peers may still use it').conflicts('all'))
    .option('--all', 'the current key and all before it that peers may still use, each with its key identifier')
    .option('--allow-expired', 'a key that has expired, too');
}

function labelArgument(text: string, before: readonly string[] | undefined): readonly string[] {
  if (text === '' || text.includes('\0')) throw new InvalidArgumentError('expected a name for the use');
  if (isReservedLabel(text))
    throw new InvalidArgumentError('labels that begin with "latchkey " are reserved; choose another, as dtls-psk');
  const labels = before ?? [];
  if (labels.length >= MAX_LABELS) throw new InvalidArgumentError(`expected ${MAX_LABELS} labels at most`);
  return labels.includes(text) ? labels : [...labels, text];
}
