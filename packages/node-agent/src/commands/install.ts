import { formatId } from '@latchkey/protocol';
import { formatEndpoint, idArgument, lockFolder, openFolder, peerArgument, withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import type { InstallationOptions } from '../installation.js';
import { NodeFile } from '../node-file.js';
import { stateOption } from './state.js';

interface InstallOptions extends InstallationOptions {
  readonly state: string;
  readonly replace?: true;
}

export function installCommand(): Command {
  const command = new Command('install')
    .description("put ID, controller and initial key into this device (the draft's step 3)")
    .addOption(stateOption())
    .option('--label <file>', 'take all of it from the label with the QR code; - takes it from a scanner or standard input')
    .option('--id <id>', 'ID_i, 8 hex digits', idArgument)
    .option('--manifest <file>', 'take the rest from its line in the manifest; - reads standard input')
    .option('--passphrase-file <file>', 'what opens an encrypted manifest; - asks for it, or reads standard input')
    .option('--identity <file>', 'what opens an encrypted manifest: a file that age-keygen wrote')
    .option('--controller <host:port>', 'where its controller is', peerArgument)
    .option('--controller-id <id>', 'ID_c; without it the node is the first controller’s that proves the key', idArgument)
    .option('--ik-file <file>', 'the initial key, 32 hex digits; - reads standard input')
    .option('--replace', 'give up the key of a node that is installed here')
    .action(install);
  return withExamples(
    command,
    'latchkey-node-agent install --state /var/lib/latchkey/node-agent --label -',
    'latchkey-node-agent install --state /var/lib/latchkey/node-agent --manifest manifest.csv --id 0000a1b2',
    'latchkey-node-agent install --state ./node --manifest manifest.csv.age --identity key.txt --id 0000a1b2',
    'latchkey-node-agent install --state ./node --id 0000a1b2 --controller 192.0.2.1:5683 --controller-id 00000001 --ik-file -',
  );
}

async function install(options: InstallOptions): Promise<void> {
  // Manifests, labels and their encryption: a daemon has no use for them, and is small without.
  const { readInstallation } = await import('../installation.js');
  const { idI, idC, controller, ik } = await readInstallation(options);
  await openFolder(options.state);
  const lock = await lockFolder(options.state, 'latchkey-node-agent install');
  try {
    const state = {
      idI,
      controllers: idC === undefined ? ('any' as const) : [idC],
      confirmed: ik,
      initial: true,
      candidates: [],
    };
    const nothingYet = { membership: undefined, lastAttempt: undefined, powered: undefined, hookDue: false };
    await NodeFile.create(options.state, { state, endpoints: [controller], ...nothingYet }, options.replace === true);
  } finally {
    await lock.release();
  }
  const who = idC === undefined ? '' : ` ${formatId(idC)}`;
  process.stdout.write(
    `Node ${formatId(idI)} is installed with initial key ${String(ik)}; its controller${who} is at ${formatEndpoint(controller)}\n`,
  );
}
