/** What `install` does: puts ID, controller and initial key into the state folder. */

import { deriveInitialKey, formatId, installNode, type NodeState, type Secret } from '@latchkey/protocol';
import { InvalidContent } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import { formatEndpoint } from '@latchkey/runtime/net';
import { lockFolder, ensurePrivateFolder } from '@latchkey/runtime/files';
import { createNodeFile } from './create-node-file.js';
import { differentDeviceKey, hasDeviceKey, readDeviceKey, readDeviceKeyFile, storeDeviceKey } from './device-key.js';
import { type Installation, type InstallationOptions, readInstallation } from './installation.js';
import { NodeFile, type StoredNode } from './node-file.js';
import { eraseDeviceKeyIfDue, removeAsideKeys } from './unfinished-install.js';

/**
 * No M7 is committed later than 125 s after its M3, nor 5 s more between the clocks of servers
 * (`clock-history` of the protocol).
 */
const MAX_COMMIT_DELAY_SECONDS = 130;

export interface InstallOptions extends InstallationOptions {
  readonly state: string;
  readonly keepDeviceKey?: true;
  /** False for `--no-device-key`. */
  readonly deviceKey: boolean;
  readonly replace?: true;
}

export async function install(options: InstallOptions): Promise<void> {
  rejectDeviceKeyOptions(options);
  const { idI, idC, controller, ik: given } = await readInstallation(options);
  await ensurePrivateFolder(options.state);
  const lock = await lockFolder(options.state, 'latchkey-node-agent install');
  try {
    await finishEarlierInstallation(options.state);
    const previous = options.replace === true ? await readPrevious(options.state, idI) : undefined;
    const deviceKey = await deviceKeyFor(options, previous);
    try {
      const ik = deviceKey === undefined ? given : deriveInitialKey(deviceKey, given);
      const state = installNode({ idI, controllers: idC === undefined ? 'any' : [idC], ik }, previous?.state);
      const nothingYet = { keyLease: undefined, lastAttempt: undefined, hookPending: false };
      // A crash before the device key is erased leaves that to the next command.
      const deviceKeyErasureDue =
        deviceKey !== undefined && options.keepDeviceKey !== true && (await hasDeviceKey(options.state));
      const split = deviceKey === undefined ? {} : { split: true, deviceKeyErasureDue };
      // Powered time stays too, because the age of a candidate is measured in it.
      const record = { state, endpoints: [controller], powered: previous?.powered, ...nothingYet, ...split };
      await createNodeFile(options.state, record, options.replace === true);
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
  if (keepDeviceKey === true) return storeDeviceKey(state, deviceKey);
  return eraseDeviceKeyIfDue(state, await NodeFile.open(state));
}

/** Faults of the installed node are reported when it is replaced. */
async function finishEarlierInstallation(folder: string): Promise<void> {
  await removeAsideKeys(folder);
  const file = (await NodeFile.isInstalled(folder)) ? await NodeFile.open(folder).catch(() => undefined) : undefined;
  if (file !== undefined) await eraseDeviceKeyIfDue(folder, file);
}

/**
 * Returns the state that is installed in the folder. Returns `undefined` if none is, or, with a
 * warning, if it is damaged. Fails if the file may be readable later: a wrong mode, a failing disk
 * or a file of another version does not make its candidates void.
 */
async function readPrevious(folder: string, idI: number): Promise<StoredNode | undefined> {
  if (!(await NodeFile.isInstalled(folder))) return undefined;
  try {
    return (await NodeFile.open(folder)).record;
  } catch (error) {
    if (!(error instanceof InvalidContent)) throw error;
    if (error.fields.includes('version'))
      throw new UsageFailure(error.message, {
        advice: 'Nothing was changed. Install with that version, or remove the file: the keys in it are lost then.',
        cause: error,
      });
    const id = formatId(idI);
    process.stderr.write(
      `Warning: the keys that were installed here cannot be read, and are lost: ${error.message}\n` +
        `If the initial key is the same as before, start no agent for ${MAX_COMMIT_DELAY_SECONDS} s. Or give the node another, on the auth-server:\n` +
        `latchkey-auth-server node reset ${id} --data /var/lib/latchkey/auth-server --out ./node-${id}\n`,
    );
    return undefined;
  }
}
