/** Which nodes a list or an export is about. */

import { expiryOf, parseId } from '@latchkey/protocol';
import { type GivenTime, idArgument, integerArgument, startTimeArgument, TIME_HELP } from '@latchkey/runtime/cli';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { NODE_STATES, type NodeStatus, nodeState, requireOrder } from '@latchkey/operations';
import { type Registry, notFound, type NodeInfo } from '@latchkey/registry';

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

/**
 * By ID, from `from` on. A Failure for an order or a controller that there is not: nothing that
 * matches would look like an answer.
 */
export function filterNodes(registry: Registry, options: FilterOptions, now: number, from: number = 0): Generator<NodeInfo> {
  const { order, controller } = options;
  if (order !== undefined) requireOrder(registry, order);
  if (controller !== undefined && registry.controllerRow(controller) === undefined) throw notFound('controller', controller);
  return matchingNodes(registry, options, now, from);
}

function* matchingNodes(registry: Registry, options: FilterOptions, now: number, from: number): Generator<NodeInfo> {
  for (const node of registry.nodes(from)) if (isMatch(node, options, now)) yield node;
}

function isMatch(node: NodeInfo, { state, order, controller, expiringBefore, neverJoined }: FilterOptions, now: number): boolean {
  if (order !== undefined && node.order !== order) return false;
  if (controller !== undefined && node.controller !== controller) return false;
  if (neverJoined === true && !node.initial) return false;
  if (expiringBefore !== undefined && (expiryOf(node) ?? Infinity) >= expiringBefore.at) return false;
  return state === undefined || state.includes(nodeState(node, now));
}

/** IDs given one by one, as arguments. */
export function idsArgument(text: string, before: readonly number[] | undefined): readonly number[] {
  const id = parseId(text);
  if (id === undefined) throw new InvalidArgumentError('an ID is written as 8 hex digits, e.g. 0000a1b2');
  return [...(before ?? []), id];
}
