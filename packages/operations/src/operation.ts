/**
 * An operation is one action of an administrator on a registry. A command, or a route of an API,
 * calls it and reports its outcome.
 */

import type { Clocks } from '@latchkey/protocol';
import type { Registry } from '@latchkey/registry';
import { UsageFailure } from '@latchkey/runtime/failure';
import type { z } from 'zod';
import type { Contract } from './contract/contract.js';
import type { VisibleOrders } from './visibility.js';

/** What every operation works on. */
export interface Context {
  readonly registry: Registry;
  /** That of the registry. */
  readonly clock: () => Clocks;
  /** Who does it, as in the audit log: `user ada`. */
  readonly actor: string;
  /** Which orders, and nodes of them, exist for the caller. */
  readonly visibleOrders?: VisibleOrders;
  /** Shows how far long work is. */
  readonly progress?: Progress | undefined;
  /** Queues a walk through all nodes. If absent, a walk begins at once. */
  readonly inTurn?: (<T>(walk: () => Promise<T>) => Promise<T>) | undefined;
}

/** @param what text, such as `storing` */
export type Progress = <T>(what: string, total: number, work: (report: (done: number) => void) => Promise<T>) => Promise<T>;

/**
 * Called before anything is changed, with a preview of the changes. Throws to cancel. Used for the
 * confirmation by a person, and to end a dry run.
 */
export interface Approval<Preview> {
  readonly approve?: ((preview: Preview) => Promise<void>) | undefined;
}

export interface Operation<Input, Output, C extends Context = Context> extends Contract<Input, Output> {
  /** Called through `call`, which checks the input and strips the output. */
  readonly run: (context: C, input: Input) => Output | Promise<Output>;
}

/** Adds the implementation to a contract. */
export function implement<Input, Output, C extends Context = Context>(
  contract: Contract<Input, Output>,
  run: (context: C, input: Input) => Output | Promise<Output>,
): Operation<Input, Output, C> {
  return { ...contract, run };
}

/** Runs an operation: every command and every route comes through here. */
export async function call<Input, Output, C extends Context>(
  operation: Operation<Input, Output, C>,
  context: C,
  input: Input,
): Promise<Output> {
  if (context.visibleOrders !== undefined && operation.isLimitable !== true)
    throw new Error(`${operation.name} shows more than some orders`);
  const parsed = parseInput(operation, input);
  // What it changes is its actor's, also where many callers share a registry.
  const registry = context.registry.actingAs(context.actor);
  return operation.output.parse(await operation.run({ ...context, registry }, parsed));
}

/** @throws UsageFailure that names the fields that are wrong */
export function parseInput<Input>({ name, input: schema }: Contract<Input, unknown>, input: Input): Input {
  const parsed = schema.safeParse(input);
  if (parsed.success) return parsed.data;
  throw new UsageFailure(`${name}: ${describe(parsed.error)}`, { advice: 'Nothing was changed.' });
}

/** Runs a walk through all nodes in its turn. Walks must not be nested. */
export function inTurn<T>(context: Context, walk: () => Promise<T>): Promise<T> {
  return context.inTurn === undefined ? walk() : context.inTurn(walk);
}

/** Runs the work, and shows its progress if the context has a display. */
export function withProgress<T>(
  { progress }: Context,
  what: string,
  total: number,
  work: (report: (done: number) => void) => Promise<T>,
): Promise<T> {
  return progress === undefined ? work(() => undefined) : progress(what, total, work);
}

/** Names the fields that are wrong. Never their values: one may be a key. */
function describe({ issues }: z.ZodError): string {
  const faults = issues.map(({ path, message }) => (path.length === 0 ? message : `${path.join('.')}: ${message}`));
  // A text that is too long in octets is too long in characters, too.
  return [...new Set(faults)].join('; ');
}
