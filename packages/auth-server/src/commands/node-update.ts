import { formatId } from '@latchkey/protocol';
import { formatDuration } from '@latchkey/runtime/config';
import { idArgument, integerArgument, withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command, Option } from 'commander';
import { requireOrder, moveNodes, removeNodes, setDisabled, setKeyLifetime } from '@latchkey/operations';
import { idsArgument } from './node-filter.js';
import { type Registry, notFound } from '@latchkey/registry';
import { requireController } from './controller.js';
import { durationArgument } from './order-options.js';
import { confirm, pluralize, registryOptions, type RegistryOptions, withRegistry, yesOption } from './registry-command.js';

/** Nodes changed in one transaction: each such part is done whole or not at all. */
const NODES_PER_TRANSACTION = 4_096;

interface NodeSelection extends RegistryOptions {
  readonly order?: number;
  readonly from?: number;
}

/** A command about the nodes whose IDs are given, or all of an order or of a controller. */
function withNodeSelection(command: Command): Command {
  return registryOptions(command.argument('[ids...]', 'ID_i, 8 hex digits each', idsArgument))
    .option('--order <number>', 'all nodes of this order or import', integerArgument(1, 0xffff_ffff))
    .option('--from <controller>', 'all nodes assigned to this controller', idArgument);
}

function selectNodes(registry: Registry, ids: readonly number[] | undefined, { order, from }: NodeSelection): readonly number[] {
  if (ids !== undefined && ids.length > 0) {
    if (order !== undefined || from !== undefined)
      throw new UsageFailure('IDs were given, and --order or --from', { advice: 'Say one of them.' });
    return [...new Set(ids)];
  }
  if (order === undefined && from === undefined)
    throw new UsageFailure('no node is named', { advice: 'Give IDs, --order or --from.' });
  if (order !== undefined) requireOrder(registry, order);
  if (from !== undefined && registry.controllerRow(from) === undefined) throw notFound('controller', from);
  const found: number[] = [];
  for (const node of registry.nodes()) {
    if ((order === undefined || node.order === order) && (from === undefined || node.controller === from)) found.push(node.idI);
  }
  return found;
}

/** Applies a change to the selected nodes, part by part, and tells how many were changed. */
async function updateNodes(
  ids: readonly number[] | undefined,
  options: NodeSelection,
  done: string,
  change: (registry: Registry, part: readonly number[]) => Promise<number>,
  confirmCount?: (count: number) => Promise<void>,
): Promise<void> {
  await withRegistry(options, async (registry) => {
    const selected = selectNodes(registry, ids, options);
    await confirmCount?.(selected.length);
    let changed = 0;
    for (let from = 0; from < selected.length; from += NODES_PER_TRANSACTION)
      changed += await change(registry, selected.slice(from, from + NODES_PER_TRANSACTION));
    const unchanged = selected.length - changed;
    process.stdout.write(`${pluralize(changed, 'node')} ${done}${unchanged === 0 ? '' : `, ${unchanged} already so`}\n`);
  });
}

export function disableCommand(): Command {
  const command = withNodeSelection(new Command('disable').description('refuse nodes whatever they prove; their keys stay'))
    .addOption(yesOption())
    .action((ids: readonly number[] | undefined, options: NodeSelection & { readonly yes?: true }) =>
      updateNodes(
        ids,
        options,
        'disabled',
        (registry, part) => setDisabled(registry, part, true),
        // Who names nodes one by one knows how many they are.
        (count) => confirm(`Disable ${pluralize(count, 'node')}?`, (ids?.length ?? 0) > 0 ? true : options.yes),
      ),
    );
  return withExamples(
    command,
    'latchkey-auth-server node disable 0000a1b2 --data ./data',
    'latchkey-auth-server node disable --order 3 --data ./data',
  );
}

export function enableCommand(): Command {
  const command = withNodeSelection(new Command('enable').description('let disabled nodes in again')).action(
    (ids: readonly number[] | undefined, options: NodeSelection) =>
      updateNodes(ids, options, 'enabled', (registry, part) => setDisabled(registry, part, false)),
  );
  return withExamples(command, 'latchkey-auth-server node enable 0000a1b2 --data ./data');
}

export function removeCommand(): Command {
  const command = withNodeSelection(new Command('remove').description('take nodes out of the registry, with their keys'))
    .addOption(yesOption())
    .action((ids: readonly number[] | undefined, options: NodeSelection & { readonly yes?: true }) =>
      updateNodes(ids, options, 'removed', removeNodes, (count) =>
        confirm(`Remove ${pluralize(count, 'node')}? Their keys are erased.`, options.yes),
      ),
    );
  return withExamples(command, 'latchkey-auth-server node remove 0000a1b2 --data ./data --yes');
}

export function moveCommand(): Command {
  const command = withNodeSelection(new Command('move').description('assign nodes to another controller'))
    .requiredOption('--controller <id>', 'the controller they join through from now on', idArgument)
    .action((ids: readonly number[] | undefined, options: NodeSelection & { readonly controller: number }) =>
      updateNodes(ids, options, `moved to ${formatId(options.controller)}`, async (registry, part) => {
        requireController(registry, options.controller);
        return moveNodes(registry, part, options.controller);
      }),
    );
  return withExamples(
    command,
    'latchkey-auth-server node move 0000a1b2 0000a1b3 --controller 00000002 --data ./data',
    'latchkey-auth-server node move --from 00000001 --controller 00000002 --data ./data',
  );
}

interface SetOptions extends NodeSelection {
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
  const terms = { ...(lifetime === undefined ? {} : { lifetime }), ...(grace === undefined ? {} : { grace }) };
  const changes = [
    lifetime === undefined ? [] : [`lifetime ${formatDuration(lifetime)}`],
    grace === undefined ? [] : [`grace ${formatDuration(grace)}`],
  ];
  await updateNodes(ids, options, `set to ${changes.flat().join(', ')}`, (registry, part) =>
    setKeyLifetime(registry, part, terms),
  );
}
