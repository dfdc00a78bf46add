import { ensurePrivateFolder, lockFolder } from '@latchkey/runtime/files';
import { withExamples } from '@latchkey/runtime/cli';
import { Command } from 'commander';
import { removeAsideKeys } from '../unfinished-install.js';
import { stateOption } from './state.js';

interface ProvisionOptions {
  readonly state: string;
  readonly deviceKeyFile: string;
  readonly replace?: true;
}

export function provisionCommand(): Command {
  const command = new Command('provision')
    .description('put the device key into this device, at manufacture: one half of its initial key')
    .addOption(stateOption())
    .requiredOption('--device-key-file <file>', 'mode 0600, 32 hex digits; - reads standard input')
    .option('--replace', 'give up the device key that is here')
    .action(provision);
  return withExamples(
    command,
    'latchkey-node-agent provision --state /var/lib/latchkey/node-agent --device-key-file -',
    'latchkey-node-agent provision --state ./node --device-key-file device.key --replace',
  );
}

async function provision({ state, deviceKeyFile, replace }: ProvisionOptions): Promise<void> {
  // A daemon has no use for it, and is small without.
  const { readDeviceKeyFile, storeDeviceKey } = await import('../device-key.js');
  const deviceKey = await readDeviceKeyFile(deviceKeyFile);
  try {
    await ensurePrivateFolder(state);
    const lock = await lockFolder(state, 'latchkey-node-agent provision');
    try {
      await removeAsideKeys(state);
      await storeDeviceKey(state, deviceKey, replace === true);
    } finally {
      await lock.release();
    }
    process.stdout.write(
      `This device has device key ${String(deviceKey)}. Its half of the initial key comes from a manifest or a label: install\n`,
    );
  } finally {
    deviceKey.wipe();
  }
}
