import { join } from 'node:path';
import { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { exists, assertSamePidNamespace } from '@latchkey/runtime/files';
import { repeatInAdvice } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { findMasterKey, type MasterKeyOptions, masterKeyOptions, type MasterKeySource, readMasterKey } from '@latchkey/keyring';
import { type Command, Option } from 'commander';

/** Every command names the controller's state folder, or the environment does. */
function stateOption(): Option {
  const option = new Option('--state <dir>', "folder for the controller's serial numbers and its nodes' keys").env(
    'LATCHKEY_STATE',
  );
  return repeatInAdvice(option.makeOptionMandatory());
}

/** Options of every command on the keys of nodes. */
export interface StateOptions extends MasterKeyOptions {
  readonly state: string;
}

export function stateOptions(command: Command): Command {
  return masterKeyOptions(command.addOption(stateOption()));
}

export function masterKeySourceOf(options: StateOptions): Promise<MasterKeySource> {
  return findMasterKey(options, 'master-key', options.state);
}

/** Paths at which earlier versions stored PSKs. */
export function pskStorePaths(state: string): readonly string[] {
  return [join(state, 'keys'), join(state, 'psks')];
}

export function applicationRootStorePath(state: string): string {
  return join(state, 'application-roots');
}

/** Opens the keys for one command, while a controller may be running on them. */
export async function withApplicationRoots(
  options: StateOptions,
  use: (applicationRoots: ApplicationRootStore, source: MasterKeySource) => void | Promise<void>,
): Promise<void> {
  const path = applicationRootStorePath(options.state);
  if (!(await exists(path)))
    throw new UsageFailure(`${options.state} is not the state folder of a controller`, {
      advice: 'Check --state, or LATCHKEY_STATE.',
    });
  await assertSamePidNamespace(options.state);
  const source = await masterKeySourceOf(options);
  const applicationRoots = await ApplicationRootStore.open(path, await readMasterKey(source));
  try {
    await use(applicationRoots, source);
  } finally {
    await applicationRoots.close();
  }
}
