import {
  formatCommandLine,
  formatFields,
  formatTable,
  idArgument,
  integerArgument,
  withExamples,
  withPlaceOptions,
} from '@latchkey/runtime/cli';
import { call, type Context, nodesDiagnose, nodesList, nodesShow, type Step, stepsFor } from '@latchkey/operations';
import { MAX_PAGE, type NodeDetails, type NodeListInput, type NodePage, type NodeView } from '@latchkey/operations/contract';
import { formatId } from '@latchkey/protocol';
import { Command, InvalidArgumentError } from 'commander';
import { formatAdvice } from './advice.js';
import { auditTable } from './audit-table.js';
import { echoFilters, nodeFilter, type FilterOptions, filterOptions } from './node-filter.js';
import { NODE_HEADINGS, nodeFields, nodeTableRow } from './node-table.js';
import { disableCommand, enableCommand, moveCommand, removeCommand, setCommand } from './node-update.js';
import { resetCommand } from './node-reset.js';
import { printJson, printJsonList, registryOptions, type RegistryOptions, withContext } from './registry-command.js';

const DEFAULT_LIMIT = 100;

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
  await withContext(options, async (context) => {
    const input = { ...nodeFilter(options), after: after === undefined ? undefined : formatId(after) };
    if (json === true) return printJsonList(listed(context, input, limit ?? Infinity));
    const views: NodeView[] = [];
    const pages = pagesOf(context, input, limit ?? DEFAULT_LIMIT);
    let next: string | null = null;
    for await (const page of pages) {
      views.push(...page.items);
      ({ next } = page);
    }
    process.stdout.write(formatTable(NODE_HEADINGS, views.map(nodeTableRow)));
    if (next !== null) process.stderr.write(`There are more: --after ${next}\n`);
    return undefined;
  });
}

async function* listed(context: Context, input: Omit<NodeListInput, 'limit'>, limit: number): AsyncGenerator<NodeView> {
  for await (const { items } of pagesOf(context, input, limit)) yield* items;
}

/** Pages with `limit` nodes in all. */
async function* pagesOf(context: Context, input: Omit<NodeListInput, 'limit'>, limit: number): AsyncGenerator<NodePage> {
  let { after } = input;
  for (let left = limit; left > 0;) {
    const page = await call(nodesList, context, { ...input, after, limit: Math.min(left, MAX_PAGE) });
    yield page;
    if (page.next === null) return;
    after = page.next;
    left -= page.items.length;
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
  await withContext(options, async (context) => {
    const node = await call(nodesShow, context, { id: formatId(idI) });
    if (options.json === true) return printJson(node);
    process.stdout.write(
      `${formatFields({ ...nodeFields(node), 'possible key holders': keyHolders(node) })}\n${auditTable(node.life)}`,
    );
    return undefined;
  });
}

function keyHolders({ key_holders: controllers, other_key_holders: andOthers }: NodeDetails): string {
  const named = controllers.map((idC) => `controller ${idC}`);
  return [...named, ...(andOthers ? ['others: the registry does not know'] : [])].join(', ') || 'no controller';
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
  await withContext(options, async (context) => {
    const { instead, ...diagnosis } = await call(nodesDiagnose, context, { id: formatId(idI), holds });
    const { sentence, action } = diagnosis;
    if (json === true) {
      const inJson = ({ on, says, command }: Step): object => ({
        on,
        says,
        command: command === undefined ? null : formatCommandLine(withPlaceOptions(command, called)),
      });
      return printJson({
        ...diagnosis,
        steps: stepsFor(action).map(inJson),
        instead,
        instead_steps: instead === null ? [] : stepsFor(instead).map(inJson),
      });
    }
    process.stdout.write(`${sentence}\n${formatAdvice(action, instead, called)}`);
    return undefined;
  });
}
