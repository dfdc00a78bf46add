/**
 * The device key DK_i, one half of a split initial key: in a file of the state folder until the
 * node is installed.
 */

import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Secret } from '@latchkey/protocol';
import {
  createFile,
  exists,
  parseKey,
  readPrivateFile,
  readSecretFile,
  replaceFile,
  syncFolderOf,
} from '@latchkey/runtime/files';
import { readSecretInput, shellWord } from '@latchkey/runtime/cli';
import { systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import { DEVICE_KEY_FILE as FILE } from './node-json.js';

const KEY_PATTERN = /^[0-9a-fA-F]{32}$/;
const STANDARD_INPUT = '-';

/**
 * Reads the device key from the 0600 file `path`, or from standard input for `-`. The caller wipes
 * it.
 */
export async function readDeviceKeyFile(path: string): Promise<Secret> {
  if (KEY_PATTERN.test(path)) {
    throw new UsageFailure('--device-key-file takes the name of a file, or -, not the key itself', {
      advice: 'A device key is never an argument: others could read it.',
    });
  }
  if (path === STANDARD_INPUT) return parseKey(await readSecretInput('Device key (it is not shown):', 'a key'), 'standard input');
  return parseKey(await readSecretFile(path, '--device-key-file'), path);
}

export function hasDeviceKey(folder: string): Promise<boolean> {
  return exists(join(folder, FILE));
}

/**
 * Returns the device key that the folder holds, or `undefined` if it holds none. The caller wipes
 * it.
 */
export async function readDeviceKey(folder: string): Promise<Secret | undefined> {
  if (!(await hasDeviceKey(folder))) return undefined;
  const path = join(folder, FILE);
  const advice = `Give the device key again: latchkey-node-agent provision --device-key-file FILE --replace --state ${shellWord(folder)}`;
  return parseKey(await readPrivateFile(path), path, advice);
}

/**
 * Stores the device key durably, mode 0600. Throws a UsageFailure if the folder holds another one,
 * unless `replace` is true.
 */
export async function storeDeviceKey(folder: string, deviceKey: Secret, replace = false): Promise<void> {
  const path = join(folder, FILE);
  const content = `${deviceKey.toHex()}\n`;
  if (replace) return replaceFile(path, content);
  const stored = await readDeviceKey(folder);
  if (stored === undefined) return createFile(path, content);
  const isSame = stored.equals(deviceKey);
  stored.wipe();
  if (!isSame) throw differentDeviceKey(folder);
}

/** Removes the device key durably, if there is one. */
export async function eraseDeviceKey(folder: string): Promise<void> {
  const path = join(folder, FILE);
  if (!(await exists(path))) return;
  try {
    await rm(path);
    await syncFolderOf(path);
  } catch (error) {
    throw systemFailure(`cannot remove ${path}`, error);
  }
}

export function differentDeviceKey(folder: string): UsageFailure {
  return new UsageFailure(`${folder} holds another device key`, {
    advice: 'Nothing was changed. If the file has the right one, replace the other with it: provision --replace.',
  });
}
