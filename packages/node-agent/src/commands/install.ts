import { deriveInitialKey, formatId, installNode, type NodeState, type Secret } from '@latchkey/protocol';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { formatEndpoint } from '@latchkey/runtime/net';
import { idArgument, peerArgument, withExamples } from '@latchkey/runtime/cli';
import { lockFolder, ensurePrivateFolder } from '@latchkey/runtime/files';
import { MANIFEST_HELP } from '@latchkey/provisioning';
import { Command } from 'commander';
import type { Installation, InstallationOptions } from '../installation.js';
import { NodeFile, type StoredNode } from '../node-file.js';
import { stateOption } from './state.js';

/**
 * No M7 is committed later than 125 s after its M3, nor 5 s more between the clocks of servers
 * (runtime's `times`).
 */
const MAX_COMMIT_DELAY_SECONDS = 130;

interface InstallOptions extends InstallationOptions {
  readonly state: string;
  readonly keepDeviceKey?: true;
  /** False for `--no-device-key`. */
  readonly deviceKey: boolean;
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
    .option(
      '--device-key-file <file>',
      "the device's half of the initial key, 32 hex digits, if none was provisioned; the key given otherwise is the installer's half; - reads standard input",
    )
    .option('--keep-device-key', 'leave the device key here after the installation; without it, it is erased')
    .option('--no-device-key', 'the manifest, label or file has the whole initial key, whether or not a device key is here')
    .option('--replace', 'install again: gives up the key that is here; with the same initial key, open candidates stay')
    .action(install);
  return withExamples(
    command,
    'latchkey-node-agent install --state /var/lib/latchkey/node-agent --label -',
    'latchkey-node-agent install --state /var/lib/latchkey/node-agent --manifest manifest.csv --id 0000a1b2',
    'latchkey-node-agent install --state ./node --manifest manifest.csv.age --identity key.txt --id 0000a1b2',
    'latchkey-node-agent install --state ./node --label - --device-key-file device.key',
    'latchkey-node-agent install --state ./node --id 0000a1b2 --controller 192.0.2.1:5683 --controller-id 00000001 --ik-file -',
  );
}

async function install(options: InstallOptions): Promise<void> {
  rejectDeviceKeyOptions(options);
  // Manifests, labels and their encryption: a daemon has no use for them, and is small without.
  const { readInstallation } = await import('../installation.js');
  const { idI, idC, controller, ik: given } = await readInstallation(options);
  await ensurePrivateFolder(options.state);
  const lock = await lockFolder(options.state, 'latchkey-node-agent install');
  try {
    const previous = options.replace === true ? await readPrevious(options.state, idI) : undefined;
    const deviceKey = await deviceKeyFor(options, previous);
    try {
      const ik = deviceKey === undefined ? given : deriveInitialKey(deviceKey, given);
      const state = installNode({ idI, controllers: idC === undefined ? 'any' : [idC], ik }, previous?.state);
      const nothingYet = { keyLease: undefined, lastAttempt: undefined, hookPending: false };
      const split = deviceKey === undefined ? {} : { split: true };
      // The age of a candidate goes by powered time, which therefore stays too.
      const record = { state, endpoints: [controller], powered: previous?.powered, ...nothingYet, ...split };
      await NodeFile.create(options.state, record, options.replace === true);
      if (deviceKey !== undefined) await keepOrErase(options, deviceKey);
      report(options, { idI, idC, controller, ik }, state, deviceKey !== undefined);
    } finally {
      deviceKey?.wipe();
    }
  } finally {
    await lock.release();
  }
}

function report(
  { keepDeviceKey }: InstallOptions,
  { idI, idC, controller, ik }: Installation,
  { candidates }: NodeState,
  split: boolean,
): void {
  const controllerText = idC === undefined ? '' : ` ${formatId(idC)}`;
  const place = keepDeviceKey === true ? 'stays here' : 'is not here any more';
  const lines = [
    `Node ${formatId(idI)} is installed with initial key ${String(ik)}; its controller${controllerText} is at ${formatEndpoint(controller)}`,
    ...(split ? [`The initial key is made of the installer's half and the device key, which ${place}.`] : []),
    ...(candidates.length === 0
      ? []
      : ['It had this initial key before. Its open candidates stay, since the network may commit one of them still.']),
  ];
  process.stdout.write(`${lines.join('\n')}\n`);
}

function rejectDeviceKeyOptions({ deviceKeyFile, keepDeviceKey, deviceKey, ...others }: InstallOptions): void {
  if (!deviceKey && (deviceKeyFile !== undefined || keepDeviceKey === true)) {
    const other = deviceKeyFile === undefined ? '--keep-device-key' : '--device-key-file';
    throw new UsageFailure(`--no-device-key and ${other} exclude each other`, {
      advice: "Leave out --no-device-key if the key given is the installer's half.",
    });
  }
  const { label, manifest, passphraseFile, identity, ikFile } = others;
  if (deviceKeyFile === '-' && [label, manifest, passphraseFile, identity, ikFile].includes('-'))
    throw new UsageFailure('standard input cannot be both the device key and another of the files', {
      advice: 'Put the device key into the device first:',
      run: [['latchkey-node-agent', 'provision', '--device-key-file', '-']],
    });
}

/**
 * Returns the device key that the initial key is made with, or `undefined` if the key given is the
 * whole initial key. The caller wipes it.
 */
async function deviceKeyFor(
  { state, deviceKeyFile, keepDeviceKey, deviceKey: isWanted }: InstallOptions,
  previous: StoredNode | undefined,
): Promise<Secret | undefined> {
  if (!isWanted) return undefined;
  const { differentDeviceKey, readDeviceKey, readDeviceKeyFile } = await import('../device-key.js');
  const given = deviceKeyFile === undefined ? undefined : await readDeviceKeyFile(deviceKeyFile);
  const stored = await readDeviceKey(state);
  if (given !== undefined && stored !== undefined) {
    const isSame = given.equals(stored);
    stored.wipe();
    if (isSame) return given;
    given.wipe();
    throw differentDeviceKey(state);
  }
  const deviceKey = given ?? stored;
  if (deviceKey === undefined && keepDeviceKey === true) {
    throw new UsageFailure(`${state} holds no device key that could stay`, {
      advice: 'Nothing was changed. Name its file with --device-key-file, or leave out --keep-device-key.',
    });
  }
  // With the installer's half for its initial key the node would never join, and lose its
  // candidates.
  if (deviceKey === undefined && previous?.split === true) {
    throw new UsageFailure('this node was installed with a device key, which is not here any more', {
      advice:
        'Nothing was changed. Name its file with --device-key-file, or say --no-device-key if the whole initial key is given.',
    });
  }
  return deviceKey;
}

/** Only once the node is installed: until then the device key is the only copy on the device. */
async function keepOrErase({ state, keepDeviceKey }: InstallOptions, deviceKey: Secret): Promise<void> {
  const { eraseDeviceKey, storeDeviceKey } = await import('../device-key.js');
  await (keepDeviceKey === true ? storeDeviceKey(state, deviceKey) : eraseDeviceKey(state));
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
