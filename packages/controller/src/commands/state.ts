import { join } from 'node:path';
import { findMasterKey, type MasterKeyOptions, masterKeyOptions, type MasterKeySource } from '@latchkey/store';
import { type Command, Option } from 'commander';

/** Every command names the controller's state folder, or the environment does. */
function stateOption(): Option {
  return new Option('--state <dir>', "folder for the controller's serial numbers and its nodes' keys")
    .env('LATCHKEY_STATE')
    .makeOptionMandatory();
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

/** Where the version before kept keys unsealed. */
export function formerKeyStorePath(state: string): string {
  return join(state, 'keys');
}

export function keyStorePath(state: string): string {
  return join(state, 'psks');
}
