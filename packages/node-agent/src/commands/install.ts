import { idArgument, peerArgument, withExamples } from '@latchkey/runtime/cli';
import { MANIFEST_HELP } from '@latchkey/provisioning';
import { Command } from 'commander';
import type { InstallOptions } from '../install.js';
import { stateOption } from './state.js';

export function installCommand(): Command {
  const command = new Command('install')
    .description("put ID, controller and initial key into this device (the draft's step 3)")
    .addOption(stateOption())
    .option('--label <file>', 'take all of it from the label with the QR code; - takes it from a scanner or standard input')
    .option('--id <id>', 'ID_i, 8 hex digits', idArgument)
    .option('--manifest <file>', `take the rest from its line in the manifest: ${MANIFEST_HELP}; - reads standard input`)
    .option('--passphrase-file <file>', 'what opens an encrypted manifest; - asks for it, or reads standard input')
    .option('--identity <file>', 'what opens an encrypted manifest: a file that age-keygen wrote')
    .option('--controller <host:port>', 'where its controller is', peerArgument)
    .option('--controller-id <id>', 'ID_c; without it the node is the first controller’s that proves the key', idArgument)
    .option('--ik-file <file>', 'the initial key, 32 hex digits; - reads standard input')
    .option(
      '--device-key-file <file>',
      "the device's half of the initial key, 32 hex digits, if none was provisioned; the key given otherwise is the installer's half; - reads standard input",
    )
    .option('--keep-device-key', 'leave the device key here after the installation; without it, it is erased')
    .option('--no-device-key', 'the manifest, label or file has the whole initial key, whether or not a device key is here')
    .option('--replace', 'install again: gives up the key that is here; with the same initial key, open candidates stay')
    // Manifests, labels and their encryption: a daemon has no use for them, and is small without.
    .action(async (options: InstallOptions) => (await import('../install.js')).install(options));
  return withExamples(
    command,
    'latchkey-node-agent install --state /var/lib/latchkey/node-agent --label -',
    'latchkey-node-agent install --state /var/lib/latchkey/node-agent --manifest manifest.csv --id 0000a1b2',
    'latchkey-node-agent install --state ./node --manifest manifest.csv.age --identity key.txt --id 0000a1b2',
    'latchkey-node-agent install --state ./node --label - --device-key-file device.key',
    'latchkey-node-agent install --state ./node --id 0000a1b2 --controller 192.0.2.1:5683 --controller-id 00000001 --ik-file -',
  );
}
