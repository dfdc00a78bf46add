import {
  formatCommandLine,
  formatFields,
  idArgument,
  integerArgument,
  withExamples,
  withPlaceOptions,
} from '@latchkey/runtime/cli';
import { call, type Context, nodesDiagnose, nodesList, nodesShow, type Step, stepsFor } from '@latchkey/operations';
import { MAX_PAGE, type NodeDetails, type NodeListInput, type NodePage, type NodeView } from '@latchkey/operations/contract';
import { formatId } from '@latchkey/protocol';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command, InvalidArgumentError } from 'commander';
import { formatAdvice } from './advice.js';
import { auditTable } from './audit-table.js';
import { controllerFilterOption, echoFilters, nodeFilter, type FilterOptions, filterOptions } from './node-filter.js';
import { type ListOptions as OutputOptions, ListOutput, listOptions } from './list-output.js';
import { NODE_COLUMNS, nodeFields } from './node-table.js';
import { disableCommand, enableCommand, moveCommand, removeCommand, setCommand } from './node-update.js';
import { resetCommand } from './node-reset.js';
import { printJson, registryOptions, type RegistryOptions, withContext } from './registry-command.js';

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

interface ListOptions extends RegistryOptions, FilterOptions, OutputOptions {
  readonly controller?: number;
  readonly after?: number;
  readonly limit?: number;
}

function listCommand(): Command {
  const command = filterOptions(controllerFilterOption(registryOptions(new Command('list').description('list the nodes, by ID'))))
    .option(
      '--limit <n>',
      `nodes at most (default: ${DEFAULT_LIMIT} in a table, all in JSON and CSV)`,
      integerArgument(1, 0xffff_ffff),
    )
    .option('--after <id>', 'go on after this ID', idArgument);
  listOptions(command, NODE_COLUMNS, 'as a JSON array, one node a line').action(list);
  return withExamples(
    command,
    'latchkey-auth-server node list --data ./data --order 1 --never-joined',
    'latchkey-auth-server node list --data ./data --state expiring --state expired --limit 1000',
    'latchkey-auth-server node list --data ./data --site north --tag pump --sort expires --columns id,name,location,expires',
    'latchkey-auth-server node list --data ./data --search "pillar 7" --csv > nodes.csv',
    "latchkey-auth-server node list --data ./data --json | jq -r '.[] | select(.address == null).id'",
  );
}

async function list({ after, limit, ...options }: ListOptions): Promise<void> {
  const output = new ListOutput(NODE_COLUMNS, options);
  if (output.isSorted && after !== undefined)
    throw new UsageFailure('--after goes on by ID, and --sort has another order', { advice: 'Say one of them.' });
  echoFilters(options);
  await withContext(options, async (context) => {
    const input = { ...nodeFilter(options), after: after === undefined ? undefined : formatId(after) };
    const isTable = options.json !== true && options.csv !== true;
    const most = limit ?? (isTable ? DEFAULT_LIMIT : Infinity);
    if (output.isSorted) {
      const found = await output.first(listed(context, input, Infinity), most + 1);
      await output.print(found.slice(0, most));
      if (isTable && found.length > most) process.stderr.write(`There are more than ${most}: --limit N\n`);
      return;
    }
    if (!isTable) return output.print(listed(context, input, most));
    const views: NodeView[] = [];
    const pages = pagesOf(context, input, most);
    let next: string | null = null;
    for await (const page of pages) {
      views.push(...page.items);
      ({ next } = page);
    }
    await output.print(views);
    if (next !== null) process.stderr.write(`There are more: --after ${next}\n`);
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
