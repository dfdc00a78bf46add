import { formatId } from '@latchkey/protocol';
import { formatDuration } from '@latchkey/runtime/config';
import { idArgument, withExamples } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import {
  type NodeChangeContext,
  type NodeChangePreview,
  nodesDisable,
  nodesEnable,
  nodesMove,
  nodesRemove,
  nodesSet,
  type Operation,
} from '@latchkey/operations';
import {
  type DescriptionChange,
  type NodeChange,
  type NodeChangeInput,
  type NodeSelection,
  TEXT_LIMITS,
} from '@latchkey/operations/contract';
import { Command, Option } from 'commander';
import { textOrNull } from './controller-options.js';
import { echoFilters, type FilterOptions, filterOptions, idsArgument, nodeFilter, oneMore } from './node-filter.js';
import { durationArgument } from './order-options.js';
import { confirm, pluralize, operationOptions, type RegistryOptions, yesOption } from './registry-command.js';
import { call, withOperations } from './operation-call.js';

interface SelectionOptions extends RegistryOptions, FilterOptions {
  readonly from?: number;
  readonly dryRun?: true;
}

/** A command about the nodes whose IDs are given, or about all that match a filter. */
function withNodeSelection(command: Command, filters: (command: Command) => Command = filterOptions): Command {
  return filters(operationOptions(command.argument('[ids...]', 'ID_i, 8 hex digits each', idsArgument)))
    .option('--from <controller>', 'all nodes assigned to this controller', idArgument)
    .option('--dry-run', 'print how many nodes match, and which, and change nothing');
}

/** IDs, or all nodes that match a filter. */
function selectionOf(ids: readonly number[] | undefined, { from, ...options }: SelectionOptions): NodeSelection {
  const filter = nodeFilter({ ...options, controller: from });
  const isFiltered = Object.values(filter).some((value) => value !== undefined);
  if (ids !== undefined && ids.length > 0) {
    if (isFiltered) throw new UsageFailure('IDs were given, and a filter', { advice: 'Say one of them.' });
    return { ids: ids.map(formatId) };
  }
  if (!isFiltered)
    throw new UsageFailure('no node is named', { advice: 'Give IDs, --from, or a filter such as --order or --site.' });
  echoFilters(options);
  return filter;
}

/** Ends a dry run. */
class PreviewEnds extends Error {}

/** Changes the selected nodes, and prints their number. */
async function updateNodes<I extends NodeChangeInput>(
  operation: Operation<I, NodeChange, NodeChangeContext>,
  input: (select: NodeSelection) => I,
  { ids, options, done, approve = () => Promise.resolve() }: Update,
): Promise<void> {
  const select = selectionOf(ids, options);
  const preview = ({ count, examples }: NodeChangePreview): never => {
    const such = count === examples.length ? examples.join(', ') : `${examples.join(', ')} and ${count - examples.length} more`;
    process.stdout.write(`${pluralize(count, 'node')} would be ${done}${count === 0 ? '' : `: ${such}`}\n`);
    throw new PreviewEnds();
  };
  await withOperations(options, async (context) => {
    const approved = { ...context, approve: options.dryRun === true ? preview : approve };
    const { changed, unchanged, passed_over: passedOver = 0 } = await call(operation, approved, input(select));
    const left = passedOver === 0 ? '' : `, ${passedOver} left as they are: they do not match the filter any more`;
    process.stdout.write(`${pluralize(changed, 'node')} ${done}${unchanged === 0 ? '' : `, ${unchanged} already so`}${left}\n`);
  }).catch((error: unknown) => {
    if (!(error instanceof PreviewEnds)) throw error;
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
        // A user who names the nodes one by one knows their number.
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

interface SetOptions extends Omit<SelectionOptions, 'site'> {
  readonly lifetime?: number;
  readonly grace?: number;
  readonly name?: string;
  readonly site?: string;
  readonly location?: string;
  readonly note?: string;
  readonly untag?: readonly string[];
  readonly atSite?: readonly string[];
  readonly withTag?: readonly string[];
  readonly yes?: true;
}

export function setCommand(): Command {
  const command = withNodeSelection(
    new Command('set').description(
      'describe nodes for people, or give them a lifetime of their own, for the keys they get from now on, or a grace, for the key they have too',
    ),
    (selection) => filterOptions(selection, { site: '--at-site', tag: '--with-tag' }),
  )
    .option('--name <text>', `of one node, ${limit('name')}; '' for none, as for the next three`)
    .option('--site <text>', `where they are, ${limit('site')}`)
    .option('--location <text>', `where in the site, ${limit('location')}`)
    .option('--note <text>', limit('note'))
    .addOption(new Option('--tag <text>', `adds a tag, ${limit('tag')}; may be given again`).argParser(oneMore))
    .addOption(new Option('--untag <text>', 'removes a tag; may be given again').argParser(oneMore))
    .addOption(new Option('--lifetime <duration>', 'of their keys: 45s, 90m, 12h, 30d, 2w, or none').argParser(durationArgument))
    .addOption(
      new Option('--grace <duration>', 'how long an expired key may still renew itself, also one whose grace is over').argParser(
        durationArgument,
      ),
    )
    .addOption(yesOption())
    .action(set);
  return withExamples(
    command,
    'latchkey-auth-server node set 0000a1b2 --name "Pump 3" --site north --location "pillar 7" --tag pump --data ./data',
    'latchkey-auth-server node set --order 3 --site north --data ./data --dry-run',
    'latchkey-auth-server node set 0000a1b2 --lifetime 90d --data ./data',
    '# a node whose grace is over renews its key with its next attempt, within 10 minutes, after',
    'latchkey-auth-server node set 0000a1b2 --grace 30d --data ./data',
  );
}

function limit(text: keyof typeof TEXT_LIMITS): string {
  return `${TEXT_LIMITS[text]} characters at most`;
}

async function set(ids: readonly number[] | undefined, options: SetOptions): Promise<void> {
  const { lifetime, grace, name, site, location, note, tag, untag, atSite, withTag, yes, ...others } = options;
  const texts = { name, site, location, note };
  const description = descriptionFrom(texts, tag, untag);
  if (lifetime === undefined && grace === undefined && description === undefined)
    throw new UsageFailure('expected --name, --site, --location, --note, --tag, --untag, --lifetime or --grace');
  const changes = [
    lifetime === undefined ? [] : [`lifetime ${formatDuration(lifetime)}`],
    grace === undefined ? [] : [`grace ${formatDuration(grace)}`],
    ...Object.entries(texts).map(([name, text]) => (text === undefined ? [] : [text === '' ? `no ${name}` : `${name} ${text}`])),
    (tag ?? []).map((one) => `tag ${one}`),
    (untag ?? []).map((one) => `no tag ${one}`),
  ];
  const done = `set to ${changes.flat().join(', ')}`;
  const isNamed = (ids?.length ?? 0) > 0 || description === undefined;
  await updateNodes(nodesSet, (select) => ({ select, lifetime_seconds: lifetime, grace_seconds: grace, description }), {
    ids,
    options: { ...others, ...(atSite && { site: atSite }), ...(withTag && { tag: withTag }) },
    done,
    // Texts that are replaced are nowhere else.
    approve: ({ count }) => confirm(`Describe ${pluralize(count, 'node')}?`, isNamed ? true : yes),
  });
}

/** `undefined` if no option describes nodes. */
function descriptionFrom(
  texts: Readonly<Record<'name' | 'site' | 'location' | 'note', string | undefined>>,
  added: readonly string[] | undefined,
  removed: readonly string[] | undefined,
): DescriptionChange | undefined {
  if (Object.values(texts).every((text) => text === undefined) && added === undefined && removed === undefined) return undefined;
  const { name, site, location, note } = texts;
  return {
    name: textOrNull(name),
    site: textOrNull(site),
    location: textOrNull(location),
    note: textOrNull(note),
    add_tags: added,
    remove_tags: removed,
  };
}
