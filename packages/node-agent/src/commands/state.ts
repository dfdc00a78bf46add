import { type FileLock, lockFolder } from '@latchkey/runtime/files';
import { repeatInAdvice } from '@latchkey/runtime/cli';
import { Option } from 'commander';
import type { Config } from '../config.js';
import { NodeFile } from '../node-file.js';
import { eraseDeviceKeyIfDue, removeAsideKeys } from '../unfinished-install.js';
import type { NodeTargets, NodeTargetsOptions } from '../targets.js';

/** Every command names the node's state folder, or the environment does. */
export function stateOption(): Option {
  const option = new Option('--state <dir>', "folder for the node's keys").env('LATCHKEY_STATE');
  return repeatInAdvice(option.makeOptionMandatory());
}

/** The node's file, for the one process that may change it. */
export async function openLocked(folder: string, holder: string): Promise<{ readonly file: NodeFile; readonly lock: FileLock }> {
  // Without a node there the folder is left as it is, not locked.
  await NodeFile.assertInstalled(folder);
  const lock = await lockFolder(folder, holder);
  try {
    await removeAsideKeys(folder);
    const file = await NodeFile.open(folder);
    await eraseDeviceKeyIfDue(folder, file);
    return { file, lock };
  } catch (error) {
    await lock.release();
    throw error;
  }
}

/** Returns `undefined` if the configuration has no targets. */
export async function openTargets(
  { targets, activate_after: activateAfter }: Config,
  configPath: string | undefined,
  options: Omit<NodeTargetsOptions, 'configPath'>,
): Promise<NodeTargets | undefined> {
  if (configPath === undefined || (targets === undefined && activateAfter === undefined)) return undefined;
  const { NodeTargets } = await import('../targets.js');
  return NodeTargets.open({ configPath, ...options });
}
