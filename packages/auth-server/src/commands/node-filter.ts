/** Which nodes a list or an export is about. */

import { type NodeFilter, NODE_STATES, type NodeStatus } from '@latchkey/operations/contract';
import { formatId, parseId } from '@latchkey/protocol';
import { type GivenTime, idArgument, integerArgument, startTimeArgument, TIME_HELP } from '@latchkey/runtime/cli';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { isoTime } from '@latchkey/runtime/iso-time';

export interface FilterOptions {
  readonly state?: readonly NodeStatus[];
  readonly order?: number;
  readonly controller?: number;
  readonly expiringBefore?: GivenTime;
  readonly neverJoined?: true;
}

export function filterOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--state <state>', `${NODE_STATES.join(', ')}; may be given again`).argParser(
        (text: string, before: readonly NodeStatus[] | undefined) => [...(before ?? []), stateArgument(text)],
      ),
    )
    .option('--order <number>', 'of this order or import', integerArgument(1, 0xffff_ffff))
    .option('--controller <id>', 'assigned to this controller', idArgument)
    .option('--expiring-before <time>', `whose key expires before: ${TIME_HELP}`, startTimeArgument)
    .option('--never-joined', 'that still hold their initial key, disabled ones too');
}

function stateArgument(text: string): NodeStatus {
  const state = NODE_STATES.find((state) => state === text);
  if (state === undefined) throw new InvalidArgumentError(`expected one of ${NODE_STATES.join(', ')}`);
  return state;
}

/** Writes to standard error how a time was understood that came without its zone. */
export function echoFilters({ expiringBefore }: FilterOptions): void {
  if (expiringBefore?.local === true) process.stderr.write(`Nodes whose key expires before ${expiringBefore.text}\n`);
}

/** The options as operations take them. */
export function nodeFilter({ state, order, controller, expiringBefore, neverJoined }: FilterOptions): NodeFilter {
  return {
    state,
    order,
    controller: controller === undefined ? undefined : formatId(controller),
    expires_before: expiringBefore === undefined ? undefined : isoTime(expiringBefore.at),
    never_joined: neverJoined,
  };
}

/** IDs given one by one, as arguments. */
export function idsArgument(text: string, before: readonly number[] | undefined): readonly number[] {
  const id = parseId(text);
  if (id === undefined) throw new InvalidArgumentError('an ID is written as 8 hex digits, e.g. 0000a1b2');
  return [...(before ?? []), id];
}
