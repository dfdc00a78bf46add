import { type KeyOutput, nodesReset, type ResetPreview } from '@latchkey/operations';
import type { NodeReset, NodeResetInput } from '@latchkey/operations/contract';
import { formatId, type Secret } from '@latchkey/protocol';
import { checkPrivateFile, readKeyFile, readOctets } from '@latchkey/runtime/files';
import { decryptInto, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { findManifestLine, MANIFEST_HELP, MAX_MANIFEST } from '@latchkey/provisioning';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command, Option } from 'commander';
import { formatAdvice } from './advice.js';
import { ManifestOutput, type ManifestOutputOptions } from './manifest-output.js';
import { fingerprintArgument, idsArgument } from './node-filter.js';
import {
  type DeviceKeyOptions,
  deviceKeyOptions,
  INSTALLER_HALVES,
  manufacturerFrom,
  rejectBothFromStandardInput,
} from './order-options.js';
import { confirm, pluralize, operationOptions, type RegistryOptions, yesOption } from './registry-command.js';
import { call, deviceKeysReader, withOperations } from './operation-call.js';
import { toInstallerOption, withStoredRecipients } from './stored-recipients.js';

/**
 * What its agent proves after the reset, and before the device loses its state, counts for so long.
 */
const LOST_STATE =
  'If the device has lost its state, stop its agent for 130 s before you install it with that key, or reset it with --out.';

interface ResetOptions extends RegistryOptions, Partial<ManifestOutputOptions>, DeviceKeyOptions {
  readonly order?: number;
  readonly holding?: string;
  readonly ikFile?: string;
  readonly manifest?: string;
  readonly unsplit?: true;
  readonly yes?: true;
}

export function resetCommand(): Command {
  const command = operationOptions(
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
    .option(
      '--holding <fingerprint>',
      'of --order only the nodes that still hold this initial key, as `order exposure` shows it',
      fingerprintArgument,
    )
    .addOption(
      new Option('--manifest <file>', `the initial key in its line of the manifest it came with: ${MANIFEST_HELP}`).conflicts([
        'ikFile',
        'out',
      ]),
    )
    .addOption(new Option('--ik-file <file>', 'the initial key, 32 hex digits; - reads standard input').conflicts('out'))
    .option('--out <dir>', 'generate a new initial key for each node, and write their manifest there')
    .addOption(toInstallerOption().conflicts(['manifest', 'ikFile']))
    .addOption(
      new Option('--unsplit', 'give nodes whose initial key is split a whole one, which the installer knows').conflicts(
        'deviceKeys',
      ),
    );
  deviceKeyOptions(command, "the key that is generated or given is the installer's half").addOption(yesOption()).action(reset);
  return withExamples(
    command,
    'latchkey-auth-server node reset 0000a1b2 --manifest for-kim/manifest.csv --data ./data',
    'latchkey-auth-server node reset 0000a1b2 --out ./for-kim-again --data ./data',
    'latchkey-auth-server node reset 0000a1b2 --device-keys devices.csv --out ./for-kim-again --data ./data',
    'latchkey-auth-server node reset --order 3 --out ./for-kim-again --to-installer "Kim & Sons" --data ./data',
    'latchkey-auth-server node reset --order 3 --holding 1b21 --out ./for-kim-again --data ./data',
  );
}

async function reset(ids: readonly number[] | undefined, options: ResetOptions, called: Command): Promise<void> {
  const { deviceKeys: path, order, holding, unsplit, yes } = options;
  const manufacturer = manufacturerFrom(options);
  rejectBothFromStandardInput(path, options.ikFile ?? options.manifest);
  let output: ManifestOutput | undefined;
  const { out, toInstaller } = options;
  if (out === undefined && toInstaller !== undefined)
    throw new UsageFailure('--to-installer is of --out, which is missing', { advice: 'Nothing was changed. Give both.' });
  await withOperations(options, async (context) => {
    const named = toInstaller === undefined ? {} : { toInstaller };
    const readers = out === undefined ? undefined : await withStoredRecipients<ManifestOutputOptions>(context, { out, ...named });
    const openOutput =
      readers === undefined ? undefined : async (): Promise<KeyOutput> => (output = await ManifestOutput.prepare(readers));
    const readDeviceKeys = deviceKeysReader(context, path);
    const selected = selectionOf(ids, order, holding);
    const id = selected.ids?.join(', ') ?? '';
    const approve = (preview: ResetPreview): Promise<void> => confirmReset(id, preview, yes);
    const done = await call(
      nodesReset,
      { ...context, readKey: keyReader(options), openOutput, readDeviceKeys, approve },
      { ...selected, unsplit: unsplit === true, manufacturer },
    );
    const handedOver = output === undefined ? '' : `${output.advice}\n${done.split ? INSTALLER_HALVES : ''}`;
    if (done.nodes === 0) process.stdout.write(`No node of order ${order} holds its initial key any more\n`);
    else if (done.key === null)
      process.stdout.write(
        `${pluralize(done.nodes, 'node')} join with initial keys of their own\n${passedOver(done, holding)}${handedOver}`,
      );
    else {
      const which = `initial key [secret ${done.key}]${done.drawn ? '' : ' again'}`;
      process.stdout.write(`Node ${id} joins with ${which}\n${handedOver}${obstacleOf(done, called)}`);
    }
  });
}

function passedOver({ passed_over: count }: NodeReset, holding: string | undefined): string {
  if (count === 0) return '';
  const why = holding === undefined ? 'joined meanwhile' : 'joined meanwhile, or got another key';
  return `${pluralize(count, 'node')} ${why}: not reset, and not in the manifest\n`;
}

function selectionOf(
  ids: readonly number[] | undefined,
  order: number | undefined,
  holding: string | undefined,
): Pick<NodeResetInput, 'ids' | 'order' | 'holding'> {
  const named = [...new Set(ids)].map(formatId);
  if (order === undefined) {
    if (holding !== undefined)
      throw new UsageFailure('--holding is of --order, which is missing', { advice: 'Nothing was changed. Give both.' });
    if (named.length === 0) throw new UsageFailure('no node is named', { advice: 'Give IDs, or --order.' });
    return { ids: named };
  }
  if (named.length > 0) throw new UsageFailure('IDs were given, and --order', { advice: 'Say one of them.' });
  return { order, ...(holding === undefined ? {} : { holding }) };
}

/** Reads the initial key that the options name, if they do. */
function keyReader({ manifest, ikFile }: ResetOptions): ((idI: number) => Promise<Secret>) | undefined {
  if (manifest !== undefined) return (idI) => readManifestKey(manifest, idI);
  return ikFile === undefined ? undefined : (): Promise<Secret> => readKeyFile(ikFile);
}

async function readManifestKey(manifest: string, idI: number): Promise<Secret> {
  await checkPrivateFile(manifest);
  const { ik } = findManifestLine(await readOctets(manifest, MAX_MANIFEST), idI, {
    name: manifest,
    decrypt: { advice: decryptInto(manifest, 'manifest.csv') },
  });
  return ik;
}

function confirmReset(id: string, { nodes, key, also_held_by: other }: ResetPreview, yes: true | undefined): Promise<void> {
  if (other !== null)
    process.stderr.write(`Warning: node ${other} has this initial key, too: a device that holds it can join as either\n`);
  return confirm(
    key === null
      ? `Put ${pluralize(nodes, 'node')} back to initial keys of their own? The keys they hold now let them in no more.`
      : `Put node ${id} back to the initial key [secret ${key}]? The key it holds now lets it in no more.`,
    yes,
  );
}

/** Explains why the node does not join immediately. */
function obstacleOf({ diagnosis, drawn }: NodeReset, called: Command): string {
  if (diagnosis === null) return '';
  const { cause, sentence, action, instead } = diagnosis;
  if (cause === 'held-off') return `${sentence}\n${drawn ? '' : `${LOST_STATE}\n`}`;
  if (cause !== 'outside-join-window' && cause !== 'disabled') return '';
  return `But: ${sentence}\n${formatAdvice(action, instead, called)}`;
}
