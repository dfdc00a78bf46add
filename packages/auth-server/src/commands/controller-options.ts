/** What commands about one controller share. */

import type { Endpoint } from '@latchkey/runtime/net';
import { idArgument, peerArgument } from '@latchkey/runtime/cli';
import { type Command, Option } from 'commander';
import { registryOptions } from './registry-command.js';

export function controllerOf(command: Command): Command {
  return registryOptions(command.argument('<id>', 'ID_c, 8 hex digits', idArgument));
}

export function serverOption(): Option {
  return new Option(
    '--server <host:port>',
    'where it reaches an auth-server; may be given again, in the order they are tried',
  ).argParser((text: string, before: readonly Endpoint[] | undefined) => [...(before ?? []), peerArgument(text)]);
}
