import { rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { controllersSet, freeName, ordersExport, TAKE_UP_CREDENTIAL } from '@latchkey/operations';
import type { ControllerChange } from '@latchkey/operations/contract';
import { formatId } from '@latchkey/protocol';
import { commandToRun, peerArgument, STATE_FOLDERS, withExamples } from '@latchkey/runtime/cli';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { type CommandLine, Failure, UsageFailure } from '@latchkey/runtime/failure';
import { Command, Option } from 'commander';
import {
  controllerOf,
  descriptionFrom,
  type DescriptionOptions,
  descriptionOptions,
  serverOption,
} from './controller-options.js';
import { ensurePrivateFolder, exists } from '@latchkey/runtime/files';
import { checkRecipients } from '@latchkey/provisioning';
import { ManifestOutput, type ManifestOutputOptions, manifestOutputWords } from './manifest-output.js';
import { oneMore } from './node-filter.js';
import { pluralize, printJson, type RegistryOptions } from './registry-command.js';
import { call, type CommandContext, withOperations } from './operation-call.js';

/** Orders that are named with a command each. */
const MAX_ORDERS = 20;
/** Nodes that are named. */
const MAX_NODES = 20;
const PROGRAM = 'latchkey-auth-server';

interface SetOptions extends RegistryOptions, DescriptionOptions {
  readonly nid?: Endpoint;
  readonly server?: readonly Endpoint[];
  readonly passThrough?: 'on' | 'off';
  readonly out?: string;
  readonly recipient?: readonly string[];
  readonly json?: true;
}

export function setCommand(): Command {
  const command = descriptionOptions(
    controllerOf(
      new Command('set').description(
        'change where nodes reach a controller, where it reaches auth-servers, whether it gets their keys, or what people call it, while everything runs; it keeps its SK_cs',
      ),
      false,
    ),
  )
    .option('--nid <host:port>', 'where nodes reach it from now on', peerArgument)
    .addOption(serverOption())
    .option('--out <dir>', 'with --nid: writes the manifests that have the former address anew, a folder for each order')
    .addOption(new Option('--recipient <age1...>', 'encrypts them to an age recipient; may be given again').argParser(oneMore))
    .addOption(new Option('--pass-through <on|off>', 'on: it gets no key of a node from now on').choices(['on', 'off']))
    .option('--json', 'as a JSON object; with `--pass-through on`, every node whose key it could have')
    .action(set);
  return withExamples(
    command,
    'latchkey-auth-server controller set 00000001 --data ./data --nid 192.0.2.9:5683',
    'latchkey-auth-server controller set 00000001 --data ./data --nid 192.0.2.9:5683 --out ./new-manifests',
    'latchkey-auth-server controller set 00000001 --data ./data --server 192.0.2.7:5693 --server 192.0.2.8:5693',
    'latchkey-auth-server controller set 00000001 --data ./data --name "Hall N" --site north --contact "Ada, +49 30 1234"',
    'latchkey-auth-server controller set 00000001 --data ./data --pass-through on',
    'latchkey-auth-server controller set 00000001 --data ./data --pass-through on --json',
  );
}

async function set(
  idC: number,
  { nid, server: servers, passThrough: mode, out, recipient, json, ...options }: SetOptions,
  called: Command,
): Promise<void> {
  const description = descriptionFrom(options);
  const given = [nid, servers, mode, ...Object.values(description)];
  if (given.every((value) => value === undefined))
    throw new UsageFailure('expected --nid, --server, --pass-through, --name, --site or --contact');
  await prepareFolder({ out, recipient, nid });
  const { change, manifests } = await withOperations(options, async (context) => {
    const change = await call(controllersSet, context, {
      id: formatId(idC),
      nid: nid === undefined ? undefined : formatEndpoint(nid),
      servers: servers?.map(formatEndpoint),
      pass_through: mode === undefined ? undefined : mode === 'on',
      ...description,
    });
    return { change, manifests: out === undefined ? [] : await writeManifests(context, change, { out, recipient }) };
  }).catch(async (error: unknown) => {
    // Another run wants the folder anew. One that has a manifest stays.
    if (out !== undefined) await rmdir(out).catch(() => undefined);
    throw error;
  });
  if (json === true) return printJson(out === undefined ? change : { ...change, manifests });
  const lines = [
    ...(change.changed ? [] : [`Controller ${change.id} is set so already. Nothing was changed.`]),
    ...aboutTexts(change),
    ...aboutNid(change, manifests),
    ...aboutServers(change),
    ...aboutPassThrough(change),
    ...aboutHeldKeys(change),
  ];
  process.stdout.write(lines.map((line) => `${typeof line === 'string' ? line : commandToRun(line, called)}\n`).join(''));
}

/** A sentence, or a command to paste. */
type Line = string | CommandLine;

/** Before anything is changed: whatever is wrong with the folder is found here. */
async function prepareFolder({
  out,
  recipient,
  nid,
}: {
  readonly [O in 'out' | 'recipient' | 'nid']: SetOptions[O] | undefined;
}): Promise<void> {
  if (out === undefined) {
    if (recipient === undefined) return;
    throw new UsageFailure('--recipient is of --out, which is missing', { advice: 'Nothing was changed. Give both.' });
  }
  if (nid === undefined)
    throw new UsageFailure('--out is for manifests with a new address, and --nid is missing', { advice: 'Nothing was changed.' });
  if (await exists(out))
    throw new UsageFailure(`${out} exists already`, { advice: 'Nothing was changed. Choose another folder.' });
  if (recipient !== undefined) await checkRecipients(recipient);
  await ensurePrivateFolder(out);
}

interface WrittenManifest {
  readonly order: number;
  readonly path: string;
}

/** Reissues the initial keys of the nodes that have not joined, with the new address. */
async function writeManifests(
  context: CommandContext,
  { id, nid, nodes }: ControllerChange,
  { out, recipient }: { readonly out: string; readonly recipient: readonly string[] | undefined },
): Promise<readonly WrittenManifest[]> {
  const written: WrittenManifest[] = [];
  const orders = nodes?.waiting.map(({ order }) => order) ?? [];
  const optionsOf = (order: number): ManifestOutputOptions => ({
    out: join(out, `order-${order}`),
    ...(recipient && { recipient }),
  });
  try {
    for (const order of orders) {
      const output = await ManifestOutput.prepare(optionsOf(order));
      await call(ordersExport, { ...context, openOutput: () => Promise.resolve(output) }, { order });
      written.push({ order, path: output.path });
    }
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const left = orders.slice(written.length);
    const more = left.length > MAX_ORDERS ? ` The last ${left.length - MAX_ORDERS} of them are not named here.` : '';
    throw new Failure(error.message, {
      cause: error,
      advice: `Nodes reach controller ${id} at ${nid} from now on: that was done. Manifests of ${pluralize(left.length, 'order')} were not written.${more} Write them by one who may hand keys out:`,
      run: left
        .slice(0, MAX_ORDERS)
        .map((order) => [PROGRAM, 'order', 'export', String(order)].concat(manifestOutputWords(optionsOf(order)))),
    });
  }
  return written;
}

function aboutTexts({ id, before, ...after }: ControllerChange): Line[] {
  const changed = (['name', 'site', 'contact'] as const).filter((field) => before[field] !== after[field]);
  const texts = changed.map((field) => (after[field] === null ? `no ${field}` : `${field} ${after[field]}`));
  return texts.length === 0 ? [] : [`Controller ${id} has ${texts.join(', ')} from now on.`];
}

/** Manifests, labels and devices have the address where nodes reach a controller. */
function aboutNid(
  { id, nid: address, before: { nid: old }, nodes }: ControllerChange,
  manifests: readonly WrittenManifest[],
): Line[] {
  if (nodes === null) return [];
  const { joined, waiting } = nodes;
  const lines: Line[] = [`Nodes reach controller ${id} at ${address} from now on, no longer at ${old}.`];
  const count = waiting.reduce((sum, { nodes }) => sum + nodes, 0);
  if (manifests.length > 0)
    lines.push(
      `Manifests and labels of ${pluralize(count, 'node')} that ${count === 1 ? 'has' : 'have'} not joined are out of date: they say ${old}. New manifests, which hold the initial keys (labels: order labels):`,
      ...manifests.map(({ order, path }) => `order ${order}: ${path}`),
    );
  else if (count > 0) {
    const orders = waiting.map(({ order }) => order);
    lines.push(
      `Manifests and labels of ${pluralize(count, 'node')} that ${count === 1 ? 'has' : 'have'} not joined are out of date: they say ${old}. Write new ones (labels: order labels):`,
      ...orders
        .slice(0, MAX_ORDERS)
        .map((order) => [PROGRAM, 'order', 'export', String(order), '--out', freeName(`./order-${order}`)]),
    );
    if (orders.length > MAX_ORDERS)
      lines.push(`and ${orders.length - MAX_ORDERS} more orders: ${orders.slice(MAX_ORDERS).join(', ')}`);
  }
  if (count + joined > 0) {
    const installed =
      joined === 0 ? '' : `, as those of ${pluralize(joined, 'node')} that ${joined === 1 ? 'has' : 'have'} joined`;
    lines.push(
      `Devices that are installed${installed}, go on asking at ${old}. Unless something answers for the controller there, on each, its agent stopped:`,
      ['latchkey-node-agent', 'move', '--state', STATE_FOLDERS['node-agent'], '--controller', address],
    );
  }
  return lines;
}

/** The credential of a controller has the addresses of the auth-servers. */
function aboutServers({ id, servers, before }: ControllerChange): Line[] {
  const [old, addresses] = [before.servers, servers].map((list) => list.join(', ') || 'none');
  if (old === addresses) return [];
  return [
    `Controller ${id} is to ask auth-servers at ${addresses}, no longer at ${old}.`,
    'Its credential is out of date: it says where they were. Write another, which brings another SK_cs:',
    [PROGRAM, 'controller', 'rotate', id, '--out', freeName(`./controller-${id}.json`)],
    `Put it in the place of the old one. ${TAKE_UP_CREDENTIAL} \`servers:\` in its configuration is stronger than the credential.`,
  ];
}

function aboutPassThrough({ id, pass_through: after, before }: ControllerChange): Line[] {
  if (before.pass_through === after) return [];
  const gets = after ? 'gets no key of a node' : 'gets the key of each node that joins through it';
  return [`Controller ${id} ${gets} from now on. A join that is under way comes to nothing, and its node tries again.`];
}

/** What a switch to pass-through does not take back. */
function aboutHeldKeys({ id, registry_restored: isRestored, ...held }: ControllerChange): Line[] {
  const { keys_held: nodes = [], keys_held_unknown: unknown = [] } = held;
  const [first = unknown[0]] = nodes;
  if (first === undefined) return [];
  const lines: Line[] = [];
  if (nodes.length > 0)
    lines.push(
      `What it knows it still knows. It could have had the keys of ${pluralize(nodes.length, 'node')}: ${named(nodes)}.`,
      'It was their controller, or that of a node with the same initial key, while it was not pass-through.',
    );
  if (unknown.length > 0) {
    const more = nodes.length > 0 ? `${unknown.length} more` : pluralize(unknown.length, 'node');
    lines.push(
      `Of ${more} the registry does not know whether it could: ${named(unknown)}.`,
      isRestored
        ? 'The registry was restored from a backup: it does not say who their controllers were between the two.'
        : 'They had more controllers than the registry keeps.',
    );
  }
  return [
    ...lines,
    'If it is dishonest and listens on, it follows each renewal of such a key. A new initial key ends that, which no other node has.',
    'The node counts as cured once it has joined with that key. Put one on the device of each:',
    [PROGRAM, 'node', 'reset', first, '--out', freeName(`./reset-${first}`)],
    ...(nodes.length + unknown.length > MAX_NODES
      ? ['To list all of them:', [PROGRAM, 'controller', 'set', id, '--pass-through', 'on', '--json']]
      : []),
  ];
}

function named(nodes: readonly string[]): string {
  const more = nodes.length > MAX_NODES ? `, and ${nodes.length - MAX_NODES} more` : '';
  return `${nodes.slice(0, MAX_NODES).join(', ')}${more}`;
}
