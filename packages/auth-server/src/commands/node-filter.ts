/** Which nodes a list, an export or a change is about. */

import { type NodeFilter, NODE_STATES, type NodeStatus } from '@latchkey/operations/contract';
import { formatId, parseId } from '@latchkey/protocol';
import { type GivenTime, idArgument, integerArgument, startTimeArgument, TIME_HELP } from '@latchkey/runtime/cli';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isoTime } from '@latchkey/runtime/iso-time';
import { installerArgument } from './order-options.js';

/** Every filter but that of the controller, which a change of it names otherwise. */
export interface FilterOptions {
  readonly state?: readonly NodeStatus[];
  readonly order?: number;
  readonly installer?: string;
  readonly expiringBefore?: GivenTime;
  readonly since?: GivenTime;
  readonly neverJoined?: true;
  readonly site?: readonly string[];
  readonly tag?: readonly string[];
  readonly search?: string;
}

/** What the filters by site and by tag are called: a change of these has their names for itself. */
interface FilterNames {
  readonly site: string;
  readonly tag: string;
}

const FILTER_NAMES: FilterNames = { site: '--site', tag: '--tag' };

export function filterOptions(command: Command, { site, tag }: FilterNames = FILTER_NAMES): Command {
  return command
    .addOption(
      new Option('--state <state>', `${NODE_STATES.join(', ')}; may be given again`).argParser(
        (text: string, before: readonly NodeStatus[] | undefined) => [...(before ?? []), stateArgument(text)],
      ),
    )
    .option('--order <number>', 'of this order or import', integerArgument(1, 0xffff_ffff))
    .option('--installer <name>', 'of the orders and imports of this installer', installerArgument)
    .option('--expiring-before <time>', `whose key expires before: ${TIME_HELP}`, startTimeArgument)
    .option('--since <time>', `whose latest join or renewal is not before: ${TIME_HELP}`, startTimeArgument)
    .option('--never-joined', 'that still hold their initial key, disabled ones too')
    .addOption(new Option(`${site} <site>`, 'at this site; may be given again').argParser(oneMore))
    .addOption(new Option(`${tag} <tag>`, 'with this tag; may be given again').argParser(oneMore))
    .option('--search <text>', 'in whose ID, name, site, location, tags or note it stands');
}

export function controllerFilterOption(command: Command): Command {
  return command.option('--controller <id>', 'assigned to this controller', idArgument);
}

export function oneMore(text: string, before: readonly string[] | undefined): readonly string[] {
  return [...(before ?? []), text];
}

function stateArgument(text: string): NodeStatus {
  const state = NODE_STATES.find((state) => state === text);
  if (state === undefined) throw new InvalidArgumentError(`expected one of ${NODE_STATES.join(', ')}`);
  return state;
}

/** Writes to standard error how a time was understood that came without its zone. */
export function echoFilters({ expiringBefore, since }: FilterOptions): void {
  if (expiringBefore?.local === true) process.stderr.write(`Nodes whose key expires before ${expiringBefore.text}\n`);
  if (since?.local === true) process.stderr.write(`Nodes that joined or renewed since ${since.text}\n`);
}

/** The options as operations take them. */
export function nodeFilter({
  controller,
  expiringBefore,
  since,
  neverJoined,
  ...options
}: FilterOptions & { readonly controller?: number | undefined }): NodeFilter {
  const { state, order, installer, site, tag, search } = options;
  return {
    state,
    order,
    installer,
    controller: controller === undefined ? undefined : formatId(controller),
    expires_before: expiringBefore === undefined ? undefined : isoTime(expiringBefore.at),
    joined_since: since === undefined ? undefined : isoTime(since.at),
    never_joined: neverJoined,
    site,
    tag,
    search,
  };
}

/** IDs given one by one, as arguments. */
export function idsArgument(text: string, before: readonly number[] | undefined): readonly number[] {
  const id = parseId(text);
  if (id === undefined) throw new InvalidArgumentError('an ID is written as 8 hex digits, e.g. 0000a1b2');
  return [...(before ?? []), id];
}

/** A key by the 4 hex digits that stand for it. */
export function fingerprintArgument(text: string): string {
  // Alone, or as the device shows it.
  const [, alone, shown] = /^(?:([0-9a-f]{4})|\[secret ([0-9a-f]{4})\])$/i.exec(text) ?? [];
  const fingerprint = alone ?? shown;
  if (fingerprint === undefined) throw new InvalidArgumentError('expected a fingerprint of 4 hex digits, e.g. 1b21');
  return fingerprint.toLowerCase();
}
