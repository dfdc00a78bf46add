import { formatId, type Secret } from '@latchkey/protocol';
import {
  checkPrivateFile,
  decryptInto,
  findManifestLine,
  integerArgument,
  type ManifestLine,
  MANIFEST_HELP,
  MAX_MANIFEST,
  readKeyFile,
  readClock,
  readFolderLock,
  readOctets,
  UsageFailure,
  withExamples,
} from '@latchkey/runtime';
import { Command, Option } from 'commander';
import { findHeldInitialKey, requireOrder, otherHolderOf, resetNode } from '../changes.js';
import { diagnoseNode } from '../diagnosis.js';
import { surroundingsOf } from '../diagnosis-situation.js';
import { ManifestOutput, type ManifestOutputOptions } from '../handover.js';
import { idsArgument } from '../node-filter.js';
import { generateKey } from '../order.js';
import { withProgress } from '../progress.js';
import { notFound, type Registry } from '../registry.js';
import { requireController } from './controller.js';
import { enrolAgain, formatAdvice, freeName } from './next-steps.js';
import { confirm, pluralize, registryOptions, type RegistryOptions, withRegistry, yesOption } from './with-registry.js';

/** What its agent proves after the reset, and before the device loses its state, counts for so long. */
const LOST_STATE =
  'If the device has lost its state, stop its agent for 130 s before you install it with that key, or reset it with --out.';

interface ResetOptions extends RegistryOptions, Partial<ManifestOutputOptions> {
  readonly order?: number;
  readonly ikFile?: string;
  readonly manifest?: string;
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
    .addOption(yesOption())
    .action(reset);
  return withExamples(
    command,
    'latchkey-auth-server node reset 0000a1b2 --manifest for-kim/manifest.csv --data ./data',
    'latchkey-auth-server node reset 0000a1b2 --out ./for-kim-again --data ./data',
    'latchkey-auth-server node reset --order 3 --out ./for-kim-again --data ./data',
  );
}

async function reset(ids: readonly number[] | undefined, options: ResetOptions, called: Command): Promise<void> {
  await withRegistry(options, async (registry) => {
    const selected = selectNodes(registry, ids, options);
    const [only] = selected;
    if (only !== undefined && selected.length === 1 && options.order === undefined)
      await resetOne(registry, only, options, called);
    else await resetAll(registry, selected, options);
  });
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
  const steps = enrolAgain(id, { installer: requireOrder(registry, node.order).installer, lifetime_seconds: node.lifetime });
  throw new UsageFailure(`order ${node.order} of node ${id} is closed for good: with an initial key it cannot join`, {
    advice: 'Nothing was changed. If the node may join all the same, remove it, and import its line of the manifest again:',
    run: steps.flatMap(({ command }) => (command === undefined ? [] : [command])),
  });
}

async function resetOne(registry: Registry, idI: number, options: ResetOptions, called: Command): Promise<void> {
  const id = formatId(idI);
  const { idC, nid } = controllerOf(registry, idI);
  const { ik, output } = await initialKey(registry, idI, options);
  if (options.manifest !== undefined || options.ikFile !== undefined) warnOfOtherHolder(registry, ik, idI);
  await confirm(`Put node ${id} back to the initial key ${String(ik)}? The key it holds now lets it in no more.`, options.yes);
  const change = (): Promise<void> => resetNode(registry, idI, ik);
  await (output === undefined ? change() : output.write([{ idI, idC, controller: nid, ik }], change));
  const now = readClock();
  const surroundings = surroundingsOf(registry, await readFolderLock(options.data), now);
  // What the registry says of the node, whether or not a server runs on it now.
  const server = { ...surroundings.server, runs: true, seenAt: now.wallMs };
  const { cause, sentence, action, instead } = diagnoseNode(registry, idI, { ...surroundings, server, heldUntil: undefined });
  const refused =
    cause === 'outside-join-window' || cause === 'disabled' ? `But: ${sentence}\n${formatAdvice(action, instead, called)}` : '';
  const waits = cause === 'held-off' ? `${sentence}\n${output === undefined ? `${LOST_STATE}\n` : ''}` : '';
  const key = `initial key ${String(ik)}${output === undefined ? ' again' : ''}`;
  process.stdout.write(`Node ${id} joins with ${key}\n${output === undefined ? '' : `${output.advice}\n`}${waits}${refused}`);
}

function warnOfOtherHolder(registry: Registry, ik: Secret, idI: number): void {
  const other = otherHolderOf(registry, ik, idI);
  if (other === undefined) return;
  process.stderr.write(`Warning: node ${formatId(other)} has this initial key, too: a device that holds it can join as either\n`);
}

/** Each gets a key of its own. One after the other: who interrupts it runs it again, with keys that are drawn anew. */
async function resetAll(registry: Registry, ids: readonly number[], { order, out, yes }: ResetOptions): Promise<void> {
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
  try {
    for (const idI of ids) {
      const { idC, nid } = controllerOf(registry, idI);
      lines.push({ idI, idC, controller: nid, ik: generateKey() });
    }
    const output = await ManifestOutput.prepare({ out });
    await confirm(`Put ${nodes} back to initial keys of their own? The keys they hold now let them in no more.`, yes);
    await output.write(lines, () =>
      withProgress('resetting', lines.length, async (progress) => {
        for (const [done, { idI, ik }] of lines.entries()) {
          await resetNode(registry, idI, ik);
          progress(done + 1);
        }
      }),
    );
    process.stdout.write(`${nodes} join with initial keys of their own\n${output.advice}\n`);
  } finally {
    for (const { ik } of lines) ik.wipe();
  }
}

/** The IK to go back to: what the options say, or the one that other nodes of its order still hold. */
async function initialKey(
  registry: Registry,
  idI: number,
  options: ResetOptions,
): Promise<{ readonly ik: Secret; readonly output?: ManifestOutput }> {
  const { manifest, ikFile, out } = options;
  if (manifest !== undefined) {
    await checkPrivateFile(manifest);
    const line = findManifestLine(await readOctets(manifest, MAX_MANIFEST), idI, {
      name: manifest,
      decrypt: { advice: decryptInto(manifest, 'manifest.csv') },
    });
    return { ik: line.ik };
  }
  if (ikFile !== undefined) return { ik: await readKeyFile(ikFile) };
  if (out !== undefined) {
    const handover = await ManifestOutput.prepare({ out });
    const ik = generateKey();
    return { ik, output: handover };
  }
  const ik = findHeldInitialKey(registry, idI);
  if (ik !== undefined) return { ik };
  throw new UsageFailure(
    `the initial key of node ${formatId(idI)} is not in the registry any more: it was erased when the node traded it in`,
    {
      advice: 'Name it with --manifest or --ik-file, or give the node another, with which the device is installed again:',
      run: [['latchkey-auth-server', 'node', 'reset', formatId(idI), '--out', freeName(`./reset-${formatId(idI)}`)]],
    },
  );
}
