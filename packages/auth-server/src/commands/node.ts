import {
  formatCommandLine,
  formatFields,
  formatTable,
  idArgument,
  integerArgument,
  withExamples,
  withPlaceOptions,
} from '@latchkey/runtime/cli';
import { formatId } from '@latchkey/protocol';
import { readClock } from '@latchkey/runtime/daemon';
import { readFolderLock } from '@latchkey/runtime/files';
import { Command, InvalidArgumentError } from 'commander';
import { type AuditEntry, type Registry, notFound, type NodeInfo, type UnsealedNode } from '@latchkey/registry';
import {
  diagnoseNode,
  keyHoldersOf,
  surroundingsOf,
  NODE_HEADINGS,
  nodeFields,
  nodeTableRow,
  type NodeView,
  viewNode,
} from '@latchkey/operations';
import { isoTime } from '@latchkey/runtime/iso-time';
import { echoFilters, filterNodes, type FilterOptions, filterOptions } from './node-filter.js';
import { disableCommand, enableCommand, moveCommand, removeCommand, setCommand } from './node-update.js';
import { resetCommand } from './node-reset.js';
import { auditTable } from './audit-table.js';
import { formatAdvice, type Step, stepsFor } from './next-steps.js';
import { printJson, printJsonList, registryOptions, type RegistryOptions, withRegistry } from './registry-command.js';

const DEFAULT_LIMIT = 100;
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
    .option('--limit <n>', `nodes at most (default: ${DEFAULT_LIMIT} in a table, all in JSON)`, integerArgument(1, 0xffff_ffff))
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
    const page = [...viewsOf(registry, limited(found, limit ?? DEFAULT_LIMIT), now)];
    process.stdout.write(formatTable(NODE_HEADINGS, page.map(nodeTableRow)));
    const last = page.at(-1);
    if (last !== undefined && found.next().done !== true) process.stderr.write(`There are more: --after ${last.id}\n`);
    return undefined;
  });
}

function* limited(nodes: Iterator<NodeInfo>, limit: number): Generator<NodeInfo> {
  for (let i = 0; i < limit; i++) {
    const next = nodes.next();
    if (next.done === true) return;
    yield next.value;
  }
}

function* viewsOf(registry: Registry, nodes: Iterable<NodeInfo>, now: number): Generator<NodeView> {
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
    if (node === undefined) throw notFound('node', idI);
    const view = viewNode(node, Date.now());
    const life = lifeOf(registry, node);
    const { controllers, andOthers } = keyHoldersOf(registry, idI);
    const holders = { key_holders: controllers.map(formatId), other_key_holders: andOthers };
    if (options.json === true) return printJson({ ...view, ...holders, initial_key: node.ik.fingerprint, life });
    const named = holders.key_holders.map((idC) => `controller ${idC}`);
    const keyHolders = [...named, ...(andOthers ? ['others: the registry does not know'] : [])].join(', ');
    const fields = { ...nodeFields(view), 'possible key holders': keyHolders || 'no controller' };
    process.stdout.write(`${formatFields(fields)}\n${auditTable(life)}`);
    return undefined;
  });
}

/** What happened to a node, oldest first: the latest entries, after the one that brought it. */
function lifeOf(registry: Registry, node: UnsealedNode): AuditEntry[] {
  const entries: AuditEntry[] = [];
  for (const entry of registry.audit.entriesOfNode(node.entry === 0 ? undefined : node.entry)) {
    if (entries.length >= TIMELINE) break;
    entries.push(entry);
  }
  const [first] = orderEntryOf(registry, node);
  return [...(first === undefined ? [] : [first]), ...entries.toReversed()];
}

/** The entry that tells of the node's order, if the log still has it. */
function orderEntryOf(registry: Registry, { order, addedAt }: UnsealedNode): AuditEntry[] {
  const created = registry.order(order)?.createdEntry;
  const entry = created === undefined ? undefined : registry.audit.entry(created);
  return entry === undefined || entry.at !== isoTime(addedAt) ? [] : [entry];
}

interface WhyOptions extends RegistryOptions {
  readonly holds?: string;
  readonly json?: true;
}

function whyCommand(): Command {
  const command = registryOptions(
    new Command('why')
      .description('tell why a node has not joined, or does not renew its key, and what to do next')
      .argument('<id>', 'ID_i, 8 hex digits', idArgument),
  )
    .option(
      '--holds <fingerprint>',
      'the key in the device, by the 4 hex digits that `latchkey-node-agent status` shows there',
      fingerprintArgument,
    )
    .option('--json', 'as a JSON object, with a stable word for the cause')
    .action(printDiagnosis);
  return withExamples(
    command,
    'latchkey-auth-server node why 0000a1b2 --data ./data',
    'latchkey-auth-server node why 0000a1b2 --data ./data --holds 1b21',
  );
}

function fingerprintArgument(text: string): string {
  if (!/^[0-9a-f]{4}$/i.test(text)) throw new InvalidArgumentError('expected a fingerprint of 4 hex digits, e.g. 1b21');
  return text.toLowerCase();
}

async function printDiagnosis(idI: number, { holds, json, ...options }: WhyOptions, called: Command): Promise<void> {
  await withRegistry(options, async (registry) => {
    const surroundings = surroundingsOf(registry, await readFolderLock(options.data), readClock(), holds);
    const diagnosis = diagnoseNode(registry, idI, surroundings);
    const { id, cause, sentence, facts, action, instead } = diagnosis;
    if (json === true) {
      const inJson = ({ on, says, command }: Step): object => ({
        on,
        says,
        command: command === undefined ? null : formatCommandLine(withPlaceOptions(command, called)),
      });
      return printJson({
        id,
        cause,
        sentence,
        facts,
        action,
        steps: stepsFor(action).map(inJson),
        instead,
        instead_steps: instead === null ? [] : stepsFor(instead).map(inJson),
      });
    }
    process.stdout.write(`${sentence}\n${formatAdvice(action, instead, called)}`);
    return undefined;
  });
}
