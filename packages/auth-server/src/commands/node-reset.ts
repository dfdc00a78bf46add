import { formatId, type Secret } from '@latchkey/protocol';
import { checkPrivateFile, readKeyFile, readFolderLock, readOctets } from '@latchkey/runtime/files';
import { decryptInto, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { findManifestLine, type ManifestLine, MANIFEST_HELP, MAX_MANIFEST } from '@latchkey/provisioning';
import { readClock } from '@latchkey/runtime/daemon';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command, Option } from 'commander';
import {
  findHeldInitialKey,
  requireOrder,
  otherHolderOf,
  resetNode,
  type SplitKey,
  DeviceKeys,
  diagnoseNode,
  surroundingsOf,
  enrolAgain,
  freeName,
  generateKey,
  requireController,
} from '@latchkey/operations';
import { ManifestOutput, type ManifestOutputOptions } from './manifest-output.js';
import { idsArgument } from './node-filter.js';
import { withProgress } from './progress.js';
import { type Registry, notFound } from '@latchkey/registry';
import { formatAdvice } from './advice.js';
import {
  type DeviceKeyOptions,
  deviceKeyOptions,
  INSTALLER_HALVES,
  manufacturerFrom,
  rejectBothFromStandardInput,
} from './order-options.js';
import { confirm, pluralize, registryOptions, type RegistryOptions, withRegistry, yesOption } from './registry-command.js';

/**
 * What its agent proves after the reset, and before the device loses its state, counts for so long.
 */
const LOST_STATE =
  'If the device has lost its state, stop its agent for 130 s before you install it with that key, or reset it with --out.';

interface ResetOptions extends RegistryOptions, Partial<ManifestOutputOptions>, DeviceKeyOptions {
  readonly order?: number;
  readonly ikFile?: string;
  readonly manifest?: string;
  readonly unsplit?: true;
  readonly yes?: true;
}

export function resetCommand(): Command {
  const command = registryOptions(
    new Command('reset')
      .description(
        'put nodes back to an initial key: for a device that was reset to its own, or where initial keys got out; with a key that the node had before it joins 35 s later at the earliest',
      )
      .argument('[ids...]', 'ID_i, 8 hex digits each', idsArgument),
  )
    .option(
      '--order <number>',
      'all nodes of this order or import that still hold their initial key; takes --out',
      integerArgument(1, 0xffff_ffff),
    )
    .addOption(
      new Option('--manifest <file>', `the initial key in its line of the manifest it came with: ${MANIFEST_HELP}`).conflicts([
        'ikFile',
        'out',
      ]),
    )
    .addOption(new Option('--ik-file <file>', 'the initial key, 32 hex digits; - reads standard input').conflicts('out'))
    .option('--out <dir>', 'draw a new initial key for each and write their manifest there')
    .addOption(
      new Option('--unsplit', 'give nodes whose initial key is split a whole one, which the installer knows').conflicts(
        'deviceKeys',
      ),
    );
  deviceKeyOptions(command, "what is drawn or named is the installer's half").addOption(yesOption()).action(reset);
  return withExamples(
    command,
    'latchkey-auth-server node reset 0000a1b2 --manifest for-kim/manifest.csv --data ./data',
    'latchkey-auth-server node reset 0000a1b2 --out ./for-kim-again --data ./data',
    'latchkey-auth-server node reset 0000a1b2 --device-keys devices.csv --out ./for-kim-again --data ./data',
    'latchkey-auth-server node reset --order 3 --out ./for-kim-again --data ./data',
  );
}

async function reset(ids: readonly number[] | undefined, options: ResetOptions, called: Command): Promise<void> {
  const { manifest, ikFile, deviceKeys: path } = options;
  const manufacturer = manufacturerFrom(options);
  rejectBothFromStandardInput(path, ikFile ?? manifest);
  await withRegistry(options, async (registry) => {
    const selected = selectNodes(registry, ids, options);
    requireHalves(registry, selected, options);
    const deviceKeys = path === undefined ? undefined : await DeviceKeys.read(registry, path);
    const splitting = deviceKeys === undefined || manufacturer === undefined ? undefined : { deviceKeys, manufacturer };
    try {
      const [only] = selected;
      if (only !== undefined && selected.length === 1 && options.order === undefined)
        await resetOne(registry, only, { options, splitting }, called);
      else await resetAll(registry, selected, { options, splitting });
    } finally {
      deviceKeys?.wipe();
    }
  });
}

/** What to do it with. */
interface Resetting {
  readonly options: ResetOptions;
  /** With it, what is drawn or named is the installer's half. */
  readonly splitting: Splitting | undefined;
}

interface Splitting {
  readonly deviceKeys: DeviceKeys;
  readonly manufacturer: string;
}

/** A whole key where a split one was lets the installer in again: that must be said aloud. */
function requireHalves(registry: Registry, ids: readonly number[], { deviceKeys, unsplit }: ResetOptions): void {
  if (deviceKeys !== undefined || unsplit === true) return;
  const split = ids.find((idI) => registry.nodeRow(idI)?.split === true);
  if (split === undefined) return;
  throw new UsageFailure(`the initial key of node ${formatId(split)} is split: a device key is one half of it`, {
    advice:
      'Nothing was changed. Name the file of the device keys with --device-keys; or say --unsplit, and give the installer the whole key.',
  });
}

/** An initial key for a node, and its halves if it is split. */
interface NewKey {
  readonly ik: Secret;
  readonly split?: SplitKey;
}

/** Makes the initial key of what was drawn or named. */
function combine(idI: number, key: Secret, splitting: Splitting | undefined): NewKey {
  if (splitting === undefined) return { ik: key };
  const { deviceKeys, manufacturer } = splitting;
  const ik = deviceKeys.combine(idI, key);
  if (ik !== undefined) return { ik, split: { half: key, manufacturer } };
  throw new UsageFailure(`${deviceKeys.name} has no device key for node ${formatId(idI)}`, {
    advice: 'Nothing was changed. Name the file that has it.',
  });
}

function halvesNote(splitting: Splitting | undefined): string {
  return splitting === undefined ? '' : INSTALLER_HALVES;
}

/** What the installer is given of it. */
function givenOf({ ik, split }: NewKey): Secret {
  return split?.half ?? ik;
}

function selectNodes(registry: Registry, ids: readonly number[] | undefined, { order }: ResetOptions): readonly number[] {
  const named = [...new Set(ids)];
  if (order === undefined) {
    if (named.length === 0) throw new UsageFailure('no node is named', { advice: 'Give IDs, or --order.' });
    return named;
  }
  if (named.length > 0) throw new UsageFailure('IDs were given, and --order', { advice: 'Say one of them.' });
  requireOrder(registry, order);
  return [...registry.nodes()].filter((node) => node.order === order && node.initial).map(({ idI }) => idI);
}

/** The controller of the node, if an initial key lets that in at all. */
function controllerOf(registry: Registry, idI: number): ReturnType<typeof requireController> {
  const node = registry.node(idI);
  if (node === undefined) throw notFound('node', idI);
  node.key.wipe();
  if (node.orderState !== 'closed') return requireController(registry, node.controller);
  const id = formatId(idI);
  const steps = enrolAgain(id, {
    installer: requireOrder(registry, node.order).installer,
    lifetime_seconds: node.lifetime,
    ...(node.split ? { split: true } : {}),
  });
  throw new UsageFailure(`order ${node.order} of node ${id} is closed for good: with an initial key it cannot join`, {
    advice: 'Nothing was changed. If the node may join all the same, remove it, and import its line of the manifest again:',
    run: steps.flatMap(({ command }) => (command === undefined ? [] : [command])),
  });
}

async function resetOne(registry: Registry, idI: number, { options, splitting }: Resetting, called: Command): Promise<void> {
  const id = formatId(idI);
  const { idC, nid } = controllerOf(registry, idI);
  const { given, output } = await givenKey(registry, idI, options);
  const key = combine(idI, given, splitting);
  const { ik } = key;
  if (options.manifest !== undefined || options.ikFile !== undefined) warnOfOtherHolder(registry, ik, idI);
  await confirm(`Put node ${id} back to the initial key ${String(ik)}? The key it holds now lets it in no more.`, options.yes);
  const change = (): Promise<void> => resetNode(registry, idI, ik, key.split);
  await (output === undefined ? change() : output.write([{ idI, idC, controller: nid, ik: givenOf(key) }], change));
  const now = readClock();
  const surroundings = surroundingsOf(registry, await readFolderLock(options.data), now);
  // What the registry says of the node, whether or not a server runs on it now.
  const server = { ...surroundings.server, runs: true, seenAt: now.wallMs };
  const { cause, sentence, action, instead } = diagnoseNode(registry, idI, { ...surroundings, server, heldUntil: undefined });
  const refused =
    cause === 'outside-join-window' || cause === 'disabled' ? `But: ${sentence}\n${formatAdvice(action, instead, called)}` : '';
  const waits = cause === 'held-off' ? `${sentence}\n${output === undefined ? `${LOST_STATE}\n` : ''}` : '';
  const which = `initial key ${String(ik)}${output === undefined ? ' again' : ''}`;
  const handedOver = output === undefined ? '' : `${output.advice}\n${halvesNote(splitting)}`;
  process.stdout.write(`Node ${id} joins with ${which}\n${handedOver}${waits}${refused}`);
}

function warnOfOtherHolder(registry: Registry, ik: Secret, idI: number): void {
  const other = otherHolderOf(registry, ik, idI);
  if (other === undefined) return;
  process.stderr.write(`Warning: node ${formatId(other)} has this initial key, too: a device that holds it can join as either\n`);
}

/**
 * Each gets a key of its own. One after the other: who interrupts it runs it again, with keys that
 * are drawn anew.
 */
async function resetAll(registry: Registry, ids: readonly number[], { options, splitting }: Resetting): Promise<void> {
  const { order, out, yes } = options;
  const nodes = pluralize(ids.length, 'node');
  if (ids.length === 0) {
    process.stdout.write(`No node of order ${order} holds its initial key any more\n`);
    return;
  }
  if (out === undefined)
    throw new UsageFailure(`${nodes} are to get an initial key each, and --out is missing`, {
      advice: 'Name a folder for their manifest with --out, or reset them one by one.',
    });
  const lines: ManifestLine[] = [];
  const keys: NewKey[] = [];
  try {
    for (const idI of ids) {
      const { idC, nid } = controllerOf(registry, idI);
      const key = combine(idI, generateKey(), splitting);
      keys.push(key);
      lines.push({ idI, idC, controller: nid, ik: givenOf(key) });
    }
    const output = await ManifestOutput.prepare({ out });
    await confirm(`Put ${nodes} back to initial keys of their own? The keys they hold now let them in no more.`, yes);
    await output.write(lines, () =>
      withProgress('resetting', lines.length, async (progress) => {
        for (const [done, { idI }] of lines.entries()) {
          const { ik, split } = keys[done]!;
          await resetNode(registry, idI, ik, split);
          progress(done + 1);
        }
      }),
    );
    process.stdout.write(`${nodes} join with initial keys of their own\n${output.advice}\n${halvesNote(splitting)}`);
  } finally {
    for (const key of keys) {
      key.ik.wipe();
      givenOf(key).wipe();
    }
  }
}

/**
 * The IK to go back to, or the installer's half of it: what the options say, or the IK that other
 * nodes of its order still hold.
 */
async function givenKey(
  registry: Registry,
  idI: number,
  options: ResetOptions,
): Promise<{ readonly given: Secret; readonly output?: ManifestOutput }> {
  const { manifest, ikFile, out, deviceKeys } = options;
  if (manifest !== undefined) {
    await checkPrivateFile(manifest);
    const line = findManifestLine(await readOctets(manifest, MAX_MANIFEST), idI, {
      name: manifest,
      decrypt: { advice: decryptInto(manifest, 'manifest.csv') },
    });
    return { given: line.ik };
  }
  if (ikFile !== undefined) return { given: await readKeyFile(ikFile) };
  if (out !== undefined) {
    const handover = await ManifestOutput.prepare({ out });
    return { given: generateKey(), output: handover };
  }
  if (deviceKeys !== undefined) {
    throw new UsageFailure("the installer's half is missing", {
      advice: 'Nothing was changed. Have another one drawn with --out, or name it with --manifest or --ik-file.',
    });
  }
  const held = findHeldInitialKey(registry, idI);
  if (held !== undefined) return { given: held };
  throw new UsageFailure(
    `the initial key of node ${formatId(idI)} is not in the registry any more: it was erased when the node traded it in`,
    {
      advice: 'Name it with --manifest or --ik-file, or give the node another, with which the device is installed again:',
      run: [['latchkey-auth-server', 'node', 'reset', formatId(idI), '--out', freeName(`./reset-${formatId(idI)}`)]],
    },
  );
}
