/** Calls operations where the registry is: on this machine, or elsewhere over its API. */

import type { RemoteOperations } from '@latchkey/api/client';
import { call as callHere, type Context, DeviceKeys, type Operation } from '@latchkey/operations';
import { withProgress } from './progress.js';
import { type RegistryOptions, withContext } from './registry-command.js';

/** What the operations of one command work on. */
export interface CommandContext {
  readonly place:
    | { readonly kind: 'here'; readonly context: Context }
    | { readonly kind: 'elsewhere'; readonly name: string; readonly operations: RemoteOperations };
}

/** Opens the registry of this machine, or a connection to the API of another one. */
export async function withOperations<T>(options: RegistryOptions, use: (context: CommandContext) => T | Promise<T>): Promise<T> {
  if (options.place === undefined) return withContext(options, (context) => use({ place: { kind: 'here', context } }));
  const { name, connection } = options.place;
  // Loaded for a registry elsewhere only: other commands start without it.
  const { RemoteOperations: Remote } = await import('@latchkey/api/client');
  const operations = new Remote(connection);
  try {
    return await use({ place: { kind: 'elsewhere', name, operations } });
  } finally {
    operations.close();
  }
}

/** Runs an operation. `context` answers its confirmations. */
export function call<I, O, C extends Context>(
  operation: Operation<I, O, C>,
  { place, ...extras }: CommandContext & Omit<C, keyof Context>,
  input: I,
): Promise<O> {
  if (place.kind === 'here') return callHere(operation, { ...place.context, ...extras } as unknown as C, input);
  const { name, operations } = place;
  return operations.call(operation, { ...extras, ...approvalAt(name, extras), progress: withProgress } as never, input);
}

type Approve = (preview: unknown) => Promise<void>;

/** A person who is asked sees which registry it is. */
function approvalAt(name: string, extras: object): { readonly approve?: Approve } {
  const { approve } = extras as { readonly approve?: Approve };
  if (approve === undefined) return {};
  return {
    approve(preview) {
      if (process.stdin.isTTY) process.stderr.write(`At ${name}:\n`);
      return approve(preview);
    },
  };
}

/** Reads device keys, which are compared with the registry. They do not leave this machine. */
export function deviceKeysReader({ place }: CommandContext, path: string | undefined): (() => Promise<DeviceKeys>) | undefined {
  if (path === undefined) return undefined;
  return () => {
    if (place.kind === 'elsewhere') throw new RangeError('device keys do not go over the API');
    return DeviceKeys.read(place.context.registry, path);
  };
}
