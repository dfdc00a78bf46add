import { formatId, installNode } from '@latchkey/protocol';
import {
  Failure,
  formatEndpoint,
  idArgument,
  lockFolder,
  MANIFEST_HELP,
  ensurePrivateFolder,
  peerArgument,
  withExamples,
} from '@latchkey/runtime';
import { Command } from 'commander';
import type { InstallationOptions } from '../installation.js';
import { NodeFile, type StoredNode } from '../node-file.js';
import { stateOption } from './state.js';

/**
 * No M7 is committed later than 125 s after its M3, nor 5 s more between the clocks of servers
 * (runtime's `times`).
 */
const MAX_COMMIT_DELAY_SECONDS = 130;

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
    .option('--manifest <file>', `take the rest from its line in the manifest: ${MANIFEST_HELP}; - reads standard input`)
    .option('--passphrase-file <file>', 'what opens an encrypted manifest; - asks for it, or reads standard input')
    .option('--identity <file>', 'what opens an encrypted manifest: a file that age-keygen wrote')
    .option('--controller <host:port>', 'where its controller is', peerArgument)
    .option('--controller-id <id>', 'ID_c; without it the node is the first controller’s that proves the key', idArgument)
    .option('--ik-file <file>', 'the initial key, 32 hex digits; - reads standard input')
    .option('--replace', 'install again: gives up the key that is here; with the same initial key, open candidates stay')
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
  await ensurePrivateFolder(options.state);
  const lock = await lockFolder(options.state, 'latchkey-node-agent install');
  try {
    const previous = options.replace === true ? await readPrevious(options.state, idI) : undefined;
    const state = installNode({ idI, controllers: idC === undefined ? 'any' : [idC], ik }, previous?.state);
    const nothingYet = { keyLease: undefined, lastAttempt: undefined, hookPending: false };
    // The age of a candidate goes by powered time, which therefore stays too.
    const record = { state, endpoints: [controller], powered: previous?.powered, ...nothingYet };
    await NodeFile.create(options.state, record, options.replace === true);
    const controllerText = idC === undefined ? '' : ` ${formatId(idC)}`;
    process.stdout.write(
      `Node ${formatId(idI)} is installed with initial key ${String(ik)}; its controller${controllerText} is at ${formatEndpoint(controller)}\n`,
    );
    if (state.candidates.length > 0)
      process.stdout.write(
        'It had this initial key before. Its open candidates stay, since the network may commit one of them still.\n',
      );
  } finally {
    await lock.release();
  }
}

/**
 * Returns what is installed in the folder. Returns `undefined` if nothing is, or, with a warning,
 * if it cannot be read.
 */
async function readPrevious(folder: string, idI: number): Promise<StoredNode | undefined> {
  if (!(await NodeFile.isInstalled(folder))) return undefined;
  try {
    return (await NodeFile.open(folder)).record;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const id = formatId(idI);
    process.stderr.write(
      `Warning: the keys that were installed here cannot be read, and are lost: ${error.message}\n` +
        `If the initial key is the same as before, start no agent for ${MAX_COMMIT_DELAY_SECONDS} s. Or give the node another, on the auth-server:\n` +
        `latchkey-auth-server node reset ${id} --data /var/lib/latchkey/auth-server --out ./node-${id}\n`,
    );
    return undefined;
  }
}
