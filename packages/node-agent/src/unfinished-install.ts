/**
 * What `install` or `provision` leaves in the state folder if it is killed: a key that was written
 * aside, or the device key of a node that is installed.
 */

import { join } from 'node:path';
import { removeAside } from '@latchkey/runtime/files';
import { DEVICE_KEY_FILE, NODE_FILE } from './node-json.js';
import type { NodeFile } from './node-file.js';

/** Removes keys that were written aside. The caller has locked the folder. */
export async function removeAsideKeys(folder: string): Promise<void> {
  for (const name of [NODE_FILE, DEVICE_KEY_FILE]) await removeAside(join(folder, name));
}

/** Erases the device key if `install` was to do so. The caller has locked the folder. */
export async function eraseDeviceKeyIfDue(folder: string, file: NodeFile): Promise<void> {
  if (file.record.deviceKeyErasureDue !== true) return;
  // A daemon has no other use for it, and is small without.
  const { eraseDeviceKey } = await import('./device-key.js');
  await eraseDeviceKey(folder);
  await file.write({ deviceKeyErasureDue: undefined });
}
