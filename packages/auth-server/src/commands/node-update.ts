import { formatId } from '@latchkey/protocol';
import { formatDuration } from '@latchkey/runtime/config';
import { idArgument, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import {
  call,
  type NodeChangeContext,
  nodesDisable,
  nodesEnable,
  nodesMove,
  nodesRemove,
  nodesSet,
  type Operation,
} from '@latchkey/operations';
import type { NodeChange, NodeChangeInput, NodeSelection } from '@latchkey/operations/contract';
import { Command, Option } from 'commander';
import { idsArgument } from './node-filter.js';
import { durationArgument } from './order-options.js';
import { confirm, pluralize, registryOptions, type RegistryOptions, withContext, yesOption } from './registry-command.js';

interface SelectionOptions extends RegistryOptions {
  readonly order?: number;
  readonly from?: number;
}

/** A command about the nodes whose IDs are given, or all of an order or of a controller. */
function withNodeSelection(command: Command): Command {
  return registryOptions(command.argument('[ids...]', 'ID_i, 8 hex digits each', idsArgument))
    .option('--order <number>', 'all nodes of this order or import', integerArgument(1, 0xffff_ffff))
    .option('--from <controller>', 'all nodes assigned to this controller', idArgument);
}

/** IDs, or all nodes of an order or of a controller. */
function selectionOf(ids: readonly number[] | undefined, { order, from }: SelectionOptions): NodeSelection {
  if (ids !== undefined && ids.length > 0) {
    if (order !== undefined || from !== undefined)
      throw new UsageFailure('IDs were given, and --order or --from', { advice: 'Say one of them.' });
    return { ids: ids.map(formatId) };
  }
  if (order === undefined && from === undefined)
    throw new UsageFailure('no node is named', { advice: 'Give IDs, --order or --from.' });
  return { order, controller: from === undefined ? undefined : formatId(from) };
}

/** Changes the selected nodes, and tells how many were changed. */
async function updateNodes<I extends NodeChangeInput>(
  operation: Operation<I, NodeChange, NodeChangeContext>,
  input: (select: NodeSelection) => I,
  { ids, options, done, approve }: Update,
): Promise<void> {
  await withContext(options, async (context) => {
    const { changed, unchanged } = await call(operation, { ...context, approve }, input(selectionOf(ids, options)));
    process.stdout.write(`${pluralize(changed, 'node')} ${done}${unchanged === 0 ? '' : `, ${unchanged} already so`}\n`);
  });
}

interface Update {
  readonly ids: readonly number[] | undefined;
  readonly options: SelectionOptions;
  /** What becomes of nodes, in the past participle. */
  readonly done: string;
  readonly approve?: NodeChangeContext['approve'];
}

export function disableCommand(): Command {
  const command = withNodeSelection(new Command('disable').description('refuse nodes whatever they prove; their keys stay'))
    .addOption(yesOption())
    .action((ids: readonly number[] | undefined, options: SelectionOptions & { readonly yes?: true }) =>
      updateNodes(nodesDisable, (select) => ({ select }), {
        ids,
        options,
        done: 'disabled',
        // The user who names nodes one by one knows how many they are.
        approve: ({ count }) => confirm(`Disable ${pluralize(count, 'node')}?`, (ids?.length ?? 0) > 0 ? true : options.yes),
      }),
    );
  return withExamples(
    command,
    'latchkey-auth-server node disable 0000a1b2 --data ./data',
    'latchkey-auth-server node disable --order 3 --data ./data',
  );
}

export function enableCommand(): Command {
  const command = withNodeSelection(new Command('enable').description('let disabled nodes in again')).action(
    (ids: readonly number[] | undefined, options: SelectionOptions) =>
      updateNodes(nodesEnable, (select) => ({ select }), { ids, options, done: 'enabled' }),
  );
  return withExamples(command, 'latchkey-auth-server node enable 0000a1b2 --data ./data');
}

export function removeCommand(): Command {
  const command = withNodeSelection(new Command('remove').description('take nodes out of the registry, with their keys'))
    .addOption(yesOption())
    .action((ids: readonly number[] | undefined, options: SelectionOptions & { readonly yes?: true }) =>
      updateNodes(nodesRemove, (select) => ({ select }), {
        ids,
        options,
        done: 'removed',
        approve: ({ count }) => confirm(`Remove ${pluralize(count, 'node')}? Their keys are erased.`, options.yes),
      }),
    );
  return withExamples(command, 'latchkey-auth-server node remove 0000a1b2 --data ./data --yes');
}

export function moveCommand(): Command {
  const command = withNodeSelection(new Command('move').description('assign nodes to another controller'))
    .requiredOption('--controller <id>', 'the controller they join through from now on', idArgument)
    .action((ids: readonly number[] | undefined, options: SelectionOptions & { readonly controller: number }) => {
      const to = formatId(options.controller);
      return updateNodes(nodesMove, (select) => ({ select, to }), { ids, options, done: `moved to ${to}` });
    });
  return withExamples(
    command,
    'latchkey-auth-server node move 0000a1b2 0000a1b3 --controller 00000002 --data ./data',
    'latchkey-auth-server node move --from 00000001 --controller 00000002 --data ./data',
  );
}

interface SetOptions extends SelectionOptions {
  readonly lifetime?: number;
  readonly grace?: number;
}

export function setCommand(): Command {
  const command = withNodeSelection(
    new Command('set').description(
      'give nodes a lifetime of their own, for the keys they get from now on, or a grace, for the key they have too',
    ),
  )
    .addOption(new Option('--lifetime <duration>', 'of their keys: 45s, 90m, 12h, 30d, 2w, or none').argParser(durationArgument))
    .addOption(
      new Option('--grace <duration>', 'how long an expired key may still renew itself, also one whose grace is over').argParser(
        durationArgument,
      ),
    )
    .action(set);
  return withExamples(
    command,
    'latchkey-auth-server node set 0000a1b2 --lifetime 90d --data ./data',
    '# a node whose grace is over renews its key with its next attempt, within 10 minutes, after',
    'latchkey-auth-server node set 0000a1b2 --grace 30d --data ./data',
  );
}

async function set(ids: readonly number[] | undefined, options: SetOptions): Promise<void> {
  const { lifetime, grace } = options;
  if (lifetime === undefined && grace === undefined) throw new UsageFailure('expected --lifetime or --grace');
  const changes = [
    lifetime === undefined ? [] : [`lifetime ${formatDuration(lifetime)}`],
    grace === undefined ? [] : [`grace ${formatDuration(grace)}`],
  ];
  await updateNodes(nodesSet, (select) => ({ select, lifetime_seconds: lifetime, grace_seconds: grace }), {
    ids,
    options,
    done: `set to ${changes.flat().join(', ')}`,
  });
}
