// Proves that `import` wipes the device keys that it has read, also where nothing comes of it.

import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DeviceKeys } from '@latchkey/operations';
import { tempFolder } from '@latchkey/test-support/fixtures';
import { MASTER, newRegistry } from '@latchkey/test-support/registry-fixtures';
import { expect, it, vi } from 'vitest';
import { importCommand } from '../src/commands/import.js';

const PRIVATE = { mode: 0o600 };

it('device keys are wiped where the file of nodes cannot be read to its end', async () => {
  const registry = await newRegistry();
  await registry.close();
  const folder = await tempFolder();
  const [master, devices, nodes] = ['master.key', 'devices.csv', 'nodes.csv'].map((name) => join(folder, name));
  await writeFile(master!, `${MASTER.toHex()}\n`, PRIVATE);
  await writeFile(devices!, `id,device_key\n0000a1b2,${'0b'.repeat(16)}\n`, PRIVATE);
  await writeFile(nodes!, 'neither CSV nor JSON', PRIVATE);
  const wiped = vi.spyOn(DeviceKeys.prototype, 'wipe');
  const options = ['--data', registry.folder, '--master-key-file', master!, '--device-keys', devices!];
  await expect(importCommand().parseAsync([...options, nodes!], { from: 'user' })).rejects.toThrow(/nodes\.csv/);
  expect(wiped).toHaveBeenCalledTimes(1);
});
