/** What commands about one controller share. */

import type { Endpoint } from '@latchkey/runtime/net';
import { idArgument, peerArgument } from '@latchkey/runtime/cli';
import { readFolderLock } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type Command, Option } from 'commander';
import { COMBINED_MODE_HOLDER } from '@latchkey/registry';
import { registryOptions, type RegistryOptions } from './registry-command.js';

export function controllerOf(command: Command): Command {
  return registryOptions(command.argument('<id>', 'ID_c, 8 hex digits', idArgument));
}

/** A controller that holds the registry itself cannot be kept from the keys in it. */
export async function refuseIfCombined({ data }: RegistryOptions): Promise<void> {
  const { locked, holder } = await readFolderLock(data);
  if (!locked || holder?.startsWith(COMBINED_MODE_HOLDER) !== true) return;
  throw new UsageFailure(`a controller in combined mode runs on ${data}: it holds every key itself, and cannot be pass-through`, {
    advice: 'Nothing was changed. Run an auth-server on the registry, and the controller with `mode: relay`, first.',
  });
}

export function serverOption(): Option {
  return new Option(
    '--server <host:port>',
    'where it reaches an auth-server; may be given again, in the order they are tried',
  ).argParser((text: string, before: readonly Endpoint[] | undefined) => [...(before ?? []), peerArgument(text)]);
}
