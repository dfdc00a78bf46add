/** What commands about one controller share. */

import type { Endpoint } from '@latchkey/runtime/net';
import { idArgument, peerArgument } from '@latchkey/runtime/cli';
import { type ControllerDescriptionChange, TEXT_LIMITS } from '@latchkey/operations/contract';
import { type Command, Option } from 'commander';
import { operationOptions } from './registry-command.js';

/** @param takesServer false where `--server` names auth-servers of the controller */
export function controllerOf(command: Command, takesServer: boolean = true): Command {
  return operationOptions(command.argument('<id>', 'ID_c, 8 hex digits', idArgument), takesServer);
}

export function serverOption(): Option {
  return new Option(
    '--server <host:port>',
    'where it reaches an auth-server; may be given again, in the order they are tried',
  ).argParser((text: string, before: readonly Endpoint[] | undefined) => [...(before ?? []), peerArgument(text)]);
}

/** What people know of a controller. */
export interface DescriptionOptions {
  readonly name?: string;
  readonly site?: string;
  readonly contact?: string;
}

export function descriptionOptions(command: Command): Command {
  return command
    .option('--name <text>', `what people call it, ${TEXT_LIMITS.name} characters at most; '' for none`)
    .option('--site <text>', `where it is, ${TEXT_LIMITS.site} characters at most`)
    .option('--contact <text>', `whom to call about it, ${TEXT_LIMITS.contact} characters at most`);
}

export function descriptionFrom({ name, site, contact }: DescriptionOptions): ControllerDescriptionChange {
  return { name: textOrNull(name), site: textOrNull(site), contact: textOrNull(contact) };
}

/** Returns `null` for a text that is removed, and `undefined` for one that stays. */
export function textOrNull(text: string | undefined): string | null | undefined {
  return text?.trim() === '' ? null : text;
}
