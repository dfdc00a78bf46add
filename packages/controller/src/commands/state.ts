import { join } from 'node:path';
import { exists, folderArgument, assertSamePidNamespace, repeatInAdvice, UsageFailure } from '@latchkey/runtime';
import { findMasterKey, type MasterKeyOptions, masterKeyOptions, type MasterKeySource, readMasterKey } from '@latchkey/store';
import { type Command, Option } from 'commander';
import { PskStore } from '../psk-store.js';

/** Every command names the controller's state folder, or the environment does. */
function stateOption(): Option {
  const option = new Option('--state <dir>', "folder for the controller's serial numbers and its nodes' keys")
    .env('LATCHKEY_STATE')
    .argParser(folderArgument);
  return repeatInAdvice(option.makeOptionMandatory());
}

/** What every command on the keys of nodes is told. */
export interface StateOptions extends MasterKeyOptions {
  readonly state: string;
}

export function stateOptions(command: Command): Command {
  return masterKeyOptions(command.addOption(stateOption()));
}

export function masterKeySourceOf(options: StateOptions): Promise<MasterKeySource> {
  return findMasterKey(options, 'master-key', options.state);
}

export function keyStorePath(state: string): string {
  return join(state, 'application-roots');
}

/** Opens the keys for one command, beside a controller that may be running on them. */
export async function withPskStore(
  options: StateOptions,
  use: (psks: PskStore, source: MasterKeySource) => void | Promise<void>,
): Promise<void> {
  const path = keyStorePath(options.state);
  if (!(await exists(path)))
    throw new UsageFailure(`${options.state} is not the state folder of a controller`, {
      advice: 'Check --state, or LATCHKEY_STATE.',
    });
  await assertSamePidNamespace(options.state);
  const source = await masterKeySourceOf(options);
  const psks = await PskStore.open(path, await readMasterKey(source));
  try {
    await use(psks, source);
  } finally {
    await psks.close();
  }
}
