import {
  formatCommandLine,
  formatFields,
  idArgument,
  integerArgument,
  withExamples,
  withPlaceOptions,
} from '@latchkey/runtime/cli';
import { nodesDiagnose, nodesDiagnoseGroups, nodesList, nodesShow, stepsFor } from '@latchkey/operations';
import {
  type Action,
  type DiagnosisGroup,
  MAX_PAGE,
  type NodeDetails,
  type NodeFilter,
  type NodeListInput,
  type NodePage,
  type NodeView,
} from '@latchkey/operations/contract';
import { formatId } from '@latchkey/protocol';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import { formatAdvice } from './advice.js';
import { auditTable } from './audit-table.js';
import {
  controllerFilterOption,
  echoFilters,
  fingerprintArgument,
  nodeFilter,
  type FilterOptions,
  filterOptions,
} from './node-filter.js';
import { type ListOptions as OutputOptions, ListOutput, listOptions } from './list-output.js';
import { NODE_COLUMNS, nodeFields } from './node-table.js';
import { disableCommand, enableCommand, moveCommand, removeCommand, setCommand } from './node-update.js';
import { resetCommand } from './node-reset.js';
import { dismissCommand, waitingCommand } from './node-waiting.js';
import { pluralize, printJson, operationOptions, type RegistryOptions } from './registry-command.js';
import { CAUSE_WORDS } from './cause-words.js';
import { call, type CommandContext, withOperations } from './operation-call.js';

const DEFAULT_LIMIT = 100;

export function nodeCommand(): Command {
  return new Command('node')
    .description('the nodes in the registry')
    .addCommand(listCommand())
    .addCommand(showCommand())
    .addCommand(whyCommand())
    .addCommand(waitingCommand())
    .addCommand(dismissCommand())
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
  const command = filterOptions(
    controllerFilterOption(operationOptions(new Command('list').description('list the nodes, by ID'))),
  )
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
    'latchkey-auth-server node list --context plant --never-joined',
    "latchkey-auth-server node list --data ./data --json | jq -r '.[] | select(.address == null).id'",
  );
}

async function list({ after, limit, ...options }: ListOptions): Promise<void> {
  const output = new ListOutput(NODE_COLUMNS, options);
  if (output.isSorted && after !== undefined)
    throw new UsageFailure('--after goes on by ID, and --sort has another order', { advice: 'Say one of them.' });
  echoFilters(options);
  await withOperations(options, async (context) => {
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

async function* listed(context: CommandContext, input: Omit<NodeListInput, 'limit'>, limit: number): AsyncGenerator<NodeView> {
  for await (const { items } of pagesOf(context, input, limit)) yield* items;
}

/** Pages with `limit` nodes in all. */
async function* pagesOf(context: CommandContext, input: Omit<NodeListInput, 'limit'>, limit: number): AsyncGenerator<NodePage> {
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
  const command = operationOptions(
    new Command('show')
      .description('show one node and its history, but not its key')
      .argument('<id>', 'ID_i, 8 hex digits', idArgument),
  )
    .option('--json', 'as a JSON object')
    .action(show);
  return withExamples(command, 'latchkey-auth-server node show 0000a1b2 --data ./data');
}

async function show(idI: number, options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withOperations(options, async (context) => {
    const node = await call(nodesShow, context, { id: formatId(idI), key_holders: true });
    if (options.json === true) return printJson(node);
    process.stdout.write(
      `${formatFields({ ...nodeFields(node), 'possible key holders': keyHolders(node) })}\n${auditTable(node.life)}`,
    );
    return undefined;
  });
}

/** Returns `undefined` for a caller who may not see that. */
function keyHolders({ key_holders: controllers, other_key_holders: andOthers }: NodeDetails): string | undefined {
  if (controllers === null) return undefined;
  const named = controllers.map((idC) => `controller ${idC}`);
  return [...named, ...(andOthers === true ? ['others: the registry does not know'] : [])].join(', ') || 'no controller';
}

interface WhyOptions extends RegistryOptions, FilterOptions {
  readonly holds?: string;
  readonly controller?: number;
  readonly all?: true;
  readonly json?: true;
}

function whyCommand(): Command {
  const command = filterOptions(
    controllerFilterOption(
      operationOptions(
        new Command('why')
          .description(
            'say why a node has not joined, or does not renew its key, and what to do next; or count many nodes by cause',
          )
          .argument('[id]', 'ID_i, 8 hex digits; without it, every node that matches the filters', idArgument),
      ),
    ),
  )
    .option('--all', 'every node: some 1,000 nodes a second')
    .option(
      '--holds <fingerprint>',
      'the key in the device, by the 4 hex digits that `latchkey-node-agent status` shows there',
      fingerprintArgument,
    )
    .option('--json', 'as a JSON object, with a stable word for the cause')
    .action(why);
  return withExamples(
    command,
    'latchkey-auth-server node why 0000a1b2 --data ./data',
    'latchkey-auth-server node why 0000a1b2 --data ./data --holds 1b21',
    'latchkey-auth-server node why --order 3 --data ./data',
    'latchkey-auth-server node why 0000a1b2 --server https://plant.example:8443 --token-file plant.token --ca-file plant-ca.pem',
  );
}

async function why(idI: number | undefined, { all, ...options }: WhyOptions, called: Command): Promise<void> {
  const filter = nodeFilter(options);
  const isFiltered = Object.values(filter).some((value) => value !== undefined);
  const given = [idI !== undefined, isFiltered, all === true].filter((isGiven) => isGiven).length;
  if (given !== 1)
    throw new UsageFailure(given === 0 ? 'no node is named' : 'more than one of an ID, filters and --all was given', {
      advice: 'Give an ID, or filters such as --order, --controller or --site, or --all.',
    });
  if (idI !== undefined) return printDiagnosis(idI, options, called);
  if (options.holds !== undefined)
    throw new UsageFailure('--holds is about one device', { advice: 'Give the ID of its node with it.' });
  echoFilters(options);
  return printGroups(filter, options, called);
}

/** Steps as JSON, with the commands as typed on this machine. */
function stepsInJson(action: Action | null, called: Command): object[] {
  return (action === null ? [] : stepsFor(action)).map(({ on, says, command }) => ({
    on,
    says,
    command: command === undefined ? null : formatCommandLine(withPlaceOptions(command, called)),
  }));
}

async function printGroups(filter: NodeFilter, { json, ...options }: WhyOptions, called: Command): Promise<void> {
  await withOperations(options, async (context) => {
    const { groups, ...found } = await call(nodesDiagnoseGroups, context, { filter });
    if (json === true)
      return printJson({ ...found, groups: groups.map((group) => ({ ...group, steps: stepsInJson(group.action, called) })) });
    const texts = groups.map((group) => groupText(group, called));
    process.stdout.write(texts.length === 0 ? 'No node matches\n' : texts.join('\n'));
    return undefined;
  });
}

/** The steps are those of the first node. */
function groupText({ cause, nodes, examples, sentence, action }: DiagnosisGroup, called: Command): string {
  const more = nodes > examples.length ? ` and ${nodes - examples.length} more` : '';
  const others = nodes > 1 && 'node' in action ? 'The others need the same, each with its own ID.\n' : '';
  return `${pluralize(nodes, 'node')}, ${CAUSE_WORDS[cause]}: ${examples.join(', ')}${more}\n${sentence}\n${formatAdvice(action, null, called)}${others}`;
}

async function printDiagnosis(idI: number, { holds, json, ...options }: WhyOptions, called: Command): Promise<void> {
  await withOperations(options, async (context) => {
    const { instead, ...diagnosis } = await call(nodesDiagnose, context, { id: formatId(idI), holds });
    const { sentence, action } = diagnosis;
    if (json === true)
      return printJson({
        ...diagnosis,
        steps: stepsInJson(action, called),
        instead,
        instead_steps: stepsInJson(instead, called),
      });
    process.stdout.write(`${sentence}\n${formatAdvice(action, instead, called)}`);
    return undefined;
  });
}
