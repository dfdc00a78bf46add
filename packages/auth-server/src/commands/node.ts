import { formatId } from '@latchkey/protocol';
import { formatFields, formatTable, idArgument, integerArgument, withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import type { Entry } from '../audit.js';
import { isoTime } from '../iso-time.js';
import { echoFilters, filterNodes, type FilterOptions, filterOptions } from '../node-filter.js';
import { NODE_HEADINGS, nodeFields, nodeRow, type NodeView, viewNode } from '../node-view.js';
import { notInRegistry, type Registry } from '../registry.js';
import type { NodeFacts, RegisteredNode } from '../rows.js';
import { why } from '../why.js';
import { disableCommand, enableCommand, moveCommand, removeCommand, setCommand } from './node-changes.js';
import { resetCommand } from './node-reset.js';
import { entryTable } from './entry-table.js';
import { printJson, printJsonList, registryOptions, type RegistryOptions, withRegistry } from './with-registry.js';

const PAGE = 100;
/** Entries of a node's life that `show` tells. */
const TIMELINE = 50;

export function nodeCommand(): Command {
  return new Command('node')
    .description('the nodes in the registry')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(whyCommand())
    .addCommand(disableCommand())
    .addCommand(enableCommand())
    .addCommand(moveCommand())
    .addCommand(setCommand())
    .addCommand(resetCommand())
    .addCommand(removeCommand());
}

interface ListOptions extends RegistryOptions, FilterOptions {
  readonly after?: number;
  readonly limit?: number;
  readonly json?: true;
}

function listCommand(): Command {
  const command = filterOptions(registryOptions(new Command('list').description('list the nodes, by ID')))
    .option('--limit <n>', `nodes at most (default: ${PAGE} in a table, all in JSON)`, integerArgument(1, 0xffff_ffff))
    .option('--after <id>', 'go on after this ID', idArgument)
    .option('--json', 'as a JSON array, one node a line')
    .action(list);
  return withExamples(
    command,
    'latchkey-auth-server node list --data ./data --order 1 --never-joined',
    'latchkey-auth-server node list --data ./data --state expiring --state expired --limit 1000',
    "latchkey-auth-server node list --data ./data --json | jq -r '.[] | select(.address == null).id'",
  );
}

async function list({ after, limit, json, ...options }: ListOptions): Promise<void> {
  echoFilters(options);
  await withRegistry(options, (registry) => {
    const now = Date.now();
    const found = filterNodes(registry, options, now, after === undefined ? 0 : after + 1);
    if (json === true) return printJsonList(viewsOf(registry, limited(found, limit ?? Infinity), now));
    const page = [...viewsOf(registry, limited(found, limit ?? PAGE), now)];
    process.stdout.write(formatTable(NODE_HEADINGS, page.map(nodeRow)));
    const last = page.at(-1);
    if (last !== undefined && found.next().done !== true) process.stderr.write(`There are more: --after ${last.id}\n`);
    return undefined;
  });
}

function* limited(nodes: Iterator<NodeFacts>, limit: number): Generator<NodeFacts> {
  for (let i = 0; i < limit; i++) {
    const next = nodes.next();
    if (next.done === true) return;
    yield next.value;
  }
}

function* viewsOf(registry: Registry, nodes: Iterable<NodeFacts>, now: number): Generator<NodeView> {
  for (const { idI } of nodes) {
    const node = registry.node(idI);
    if (node === undefined) continue;
    yield viewNode(node, now);
    node.key.wipe();
  }
}

function showCommand(): Command {
  const command = registryOptions(
    new Command('show')
      .description('tell all about one node but its key, and what happened to it')
      .argument('<id>', 'ID_i, 8 hex digits', idArgument),
  )
    .option('--json', 'as a JSON object')
    .action(show);
  return withExamples(command, 'latchkey-auth-server node show 0000a1b2 --data ./data');
}

async function show(idI: number, options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withRegistry(options, (registry) => {
    const node = registry.node(idI);
    if (node === undefined) throw notInRegistry('node', idI);
    const view = viewNode(node, Date.now());
    const life = lifeOf(registry, node);
    if (options.json === true) return printJson({ ...view, initial_key: node.ik.fingerprint, life });
    process.stdout.write(`${formatFields(nodeFields(view))}\n${entryTable(life)}`);
    return undefined;
  });
}

/** What happened to a node, oldest first: the latest entries, after the one that brought it. */
function lifeOf(registry: Registry, node: RegisteredNode): Entry[] {
  const entries: Entry[] = [];
  for (const entry of registry.audit.ofNode(node.entry === 0 ? undefined : node.entry)) {
    if (entries.length >= TIMELINE) break;
    entries.push(entry);
  }
  const [first] = ordersEntry(registry, node);
  return [...(first === undefined ? [] : [first]), ...entries.toReversed()];
}

/** The entry that tells of the node's order, if the log still has it. */
function ordersEntry(registry: Registry, { order, addedAt }: RegisteredNode): Entry[] {
  const created = registry.order(order)?.createdEntry;
  const entry = created === undefined ? undefined : registry.audit.entry(created);
  return entry === undefined || entry.at !== isoTime(addedAt) ? [] : [entry];
}

function whyCommand(): Command {
  const command = registryOptions(
    new Command('why')
      .description('tell why a node has not joined, or fails, and what to do next')
      .argument('<id>', 'ID_i, 8 hex digits', idArgument),
  )
    .option('--json', 'as a JSON object, with a stable word for the cause')
    .action(tellWhy);
  return withExamples(command, 'latchkey-auth-server node why 0000a1b2 --data ./data');
}

async function tellWhy(idI: number, options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withRegistry(options, (registry) => {
    const { cause, sentence, next } = why(registry, idI, Date.now());
    if (options.json === true) return printJson({ id: formatId(idI), cause, sentence, next });
    process.stdout.write(`${sentence}\n${next}\n`);
    return undefined;
  });
}
