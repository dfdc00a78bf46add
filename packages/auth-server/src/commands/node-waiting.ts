import { integerArgument, withExamples } from '@latchkey/runtime/cli';
import { waitingDismiss, waitingList } from '@latchkey/operations';
import { MAX_WAITING_PAGE, type WaitingNode } from '@latchkey/operations/contract';
import { formatId } from '@latchkey/protocol';
import { Command } from 'commander';
import { idsArgument } from './node-filter.js';
import { type Column, type ListOptions, ListOutput, listOptions } from './list-output.js';
import { call, type CommandContext, withOperations } from './operation-call.js';
import { operationOptions, pluralize, printJson, type RegistryOptions } from './registry-command.js';

const COLUMNS: readonly Column<WaitingNode>[] = [
  { name: 'id', heading: 'ID', value: ({ id }) => id },
  { name: 'controller', heading: 'CONTROLLER', value: ({ controller }) => controller },
  { name: 'count', heading: 'ASKED', value: ({ count }) => count },
  { name: 'since', heading: 'SINCE', value: ({ since }) => since, isTime: true },
  { name: 'last-seen', heading: 'LAST SEEN', value: ({ last_seen_at: at }) => at, isTime: true },
  { name: 'similar', heading: 'SIMILAR NODES', value: ({ similar }) => similar },
];

interface WaitingOptions extends RegistryOptions, ListOptions {
  readonly limit?: number;
}

export function waitingCommand(): Command {
  const command = operationOptions(
    new Command('waiting').description(
      'list IDs that controllers asked for and that are not in the registry, with the nodes whose ID is one typing error away',
    ),
  ).option('--limit <n>', 'IDs at most', integerArgument(1, MAX_WAITING_PAGE), MAX_WAITING_PAGE);
  listOptions(command, COLUMNS, 'as a JSON array, one ID a line').action(list);
  return withExamples(
    command,
    'latchkey-auth-server node waiting --data ./data',
    'latchkey-auth-server node waiting --data ./data --sort -last-seen',
  );
}

async function list({ limit = MAX_WAITING_PAGE, ...options }: WaitingOptions): Promise<void> {
  const output = new ListOutput(COLUMNS, options);
  await withOperations(options, async (context) => {
    const found = await all(context);
    await output.print(await output.first(found, limit));
    if (options.json !== true && options.csv !== true && found.length > limit)
      process.stderr.write(`${limit} of ${found.length} shown; --limit shows more\n`);
  });
}

async function all(context: CommandContext): Promise<WaitingNode[]> {
  const found: WaitingNode[] = [];
  for (let after: string | undefined; ;) {
    const { items, next } = await call(waitingList, context, { after, limit: MAX_WAITING_PAGE });
    found.push(...items);
    if (next === null) return found;
    after = next;
  }
}

export function dismissCommand(): Command {
  const command = operationOptions(
    new Command('dismiss')
      .description('take IDs off the list of those that wait; one that is asked for again is on it again')
      .argument('<ids...>', 'ID_i, 8 hex digits each', idsArgument),
  )
    .option('--json', 'as a JSON object')
    .action(dismiss);
  return withExamples(command, 'latchkey-auth-server node dismiss 0000a1b2 --data ./data');
}

async function dismiss(ids: readonly number[], options: RegistryOptions & { readonly json?: true }): Promise<void> {
  await withOperations(options, async (context) => {
    const result = await call(waitingDismiss, context, { ids: ids.map(formatId) });
    if (options.json === true) return printJson(result);
    const others = ids.length - result.dismissed;
    const missing = others === 0 ? '' : `; ${others} ${others === 1 ? 'was' : 'were'} not on the list`;
    process.stdout.write(`Dismissed ${pluralize(result.dismissed, 'ID')}${missing}\n`);
    return undefined;
  });
}
