/**
 * Which registry a command works on: that of this machine, or one elsewhere, over its API. Nothing
 * is sent before the place is certain, and a token goes to its own server only.
 */

import type { RemoteOperations } from '@latchkey/api/client';
import { parsePin, parseTarget, PIN_SYNTAX, TARGET_SYNTAX } from '@latchkey/api/target';
import { markElsewhere, repeatInAdvice } from '@latchkey/runtime/cli';
import { environment } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import { readPlainFile, readSecretFile } from '@latchkey/runtime/files';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { contextNamed, readContexts, type SavedContext } from './contexts-file.js';

/** A registry elsewhere, and what proves who is who. */
export interface RemotePlace {
  /** For a person: the context, and its server. */
  readonly name: string;
  readonly connection: ConstructorParameters<typeof RemoteOperations>[0];
}

const SERVER_VARIABLE = 'LATCHKEY_SERVER';
const TOKEN = /^[!-~]{1,200}$/;

const HELP = `
Which registry:
  --data, --server or --context on the command line; else LATCHKEY_SERVER or LATCHKEY_DATA in the
  environment, of which one may be set; else the context in use (latchkey-auth-server context use).
  LATCHKEY_TOKEN_FILE is the token for LATCHKEY_SERVER and for no other server.`;

/**
 * Adds the options that name a registry elsewhere.
 *
 * @param takesServer false where `--server` means something else: there --context names the place
 */
export function placeOptions(command: Command, takesServer: boolean): Command {
  if (takesServer) command.addOption(repeatInAdvice(serverOption().env(SERVER_VARIABLE)));
  for (const option of [contextOption(), tokenFileOption().env('LATCHKEY_TOKEN_FILE'), caFileOption(), pinOption()])
    command.addOption(repeatInAdvice(option));
  return command.addHelpText('after', HELP).hook('preAction', async () => {
    const place = await findPlace(command, takesServer);
    if (place === undefined) return;
    markElsewhere(command);
    command.setOptionValue('place', place);
  });
}

export function serverOption(): Option {
  return new Option('--server <url>', `the API of a registry elsewhere: ${TARGET_SYNTAX}`).argParser(serverArgument);
}

function contextOption(): Option {
  return new Option('--context <name>', 'a registry elsewhere, by the name that `context add` gave it');
}

export function tokenFileOption(): Option {
  return new Option('--token-file <file>', 'mode 0600: the token, as `token create` wrote it');
}

export function caFileOption(): Option {
  return new Option('--ca-file <file>', 'PEM: authorities that the certificate of the server may be of');
}

export function pinOption(): Option {
  return new Option('--pin <pin>', `the key of the server, whatever its authority: ${PIN_SYNTAX}`).argParser((text) => {
    if (parsePin(text) === undefined) throw new InvalidArgumentError(`expected ${PIN_SYNTAX}`);
    return text;
  });
}

function serverArgument(text: string): string {
  if (parseTarget(text) === undefined) throw new InvalidArgumentError(`expected ${TARGET_SYNTAX}`);
  return text;
}

/** Options of a registry on this machine. */
const LOCAL_OPTIONS: ReadonlySet<string> = new Set(['data', 'localData', 'config', 'masterKeyFile', 'masterKeyCommand']);

/** Returns `undefined` for the registry of this machine. */
async function findPlace(command: Command, takesServer: boolean): Promise<RemotePlace | undefined> {
  const isGiven = (name: string): boolean => command.getOptionValueSource(name) === 'cli';
  const value = (name: string): string | undefined => command.getOptionValue(name) as string | undefined;
  const given = (name: string): string | undefined => (isGiven(name) ? value(name) : undefined);
  const [server, context] = [takesServer ? given('server') : undefined, given('context')];
  const over: Omit<SavedContext, 'server'> = { token_file: given('tokenFile'), ca_file: given('caFile'), pin: given('pin') };
  const refuseLocal = (place: string): void => {
    const local = command.options.find((option) => LOCAL_OPTIONS.has(option.attributeName()) && isGiven(option.attributeName()));
    if (local !== undefined)
      throw new UsageFailure(`${local.long} is of a registry on this machine, and ${place} names one elsewhere`, {
        advice: 'Nothing was sent. Say one of them.',
      });
  };
  if (server !== undefined && context !== undefined)
    throw new UsageFailure('--server and --context name a registry each', { advice: 'Nothing was sent. Say one of them.' });
  if (server !== undefined) {
    refuseLocal('--server');
    return placeOf(server, { server, ...over });
  }
  if (context !== undefined) {
    refuseLocal('--context');
    return placeOfContext(context, contextNamed(await readContexts(), context), over);
  }
  if (isGiven('data')) return here(over, '--data names the registry');
  const fromEnvironment = environment(SERVER_VARIABLE);
  if (fromEnvironment !== undefined) {
    if (value('data') !== undefined)
      throw new UsageFailure(`${SERVER_VARIABLE} and LATCHKEY_DATA are both set`, {
        advice: 'Nothing was done. Unset one of them, or say --data, --server or --context.',
      });
    refuseLocal(SERVER_VARIABLE);
    return placeOf(fromEnvironment, {
      server: fromEnvironment,
      ...over,
      token_file: over.token_file ?? environment('LATCHKEY_TOKEN_FILE'),
    });
  }
  if (value('data') !== undefined) return here(over, 'LATCHKEY_DATA names the registry');
  const saved = await readContexts();
  if (saved.current !== null) {
    refuseLocal(`the context ${saved.current}`);
    return placeOfContext(saved.current, contextNamed(saved, saved.current), over);
  }
  throw new UsageFailure('no registry is named', {
    advice: takesServer
      ? 'Name that of this machine with --data, or one elsewhere with --server or --context.'
      : 'Name that of this machine with --data, or one elsewhere with --context or LATCHKEY_SERVER.',
  });
}

function here(over: Omit<SavedContext, 'server'>, why: string): undefined {
  const name = over.token_file !== undefined ? '--token-file' : over.ca_file !== undefined ? '--ca-file' : over.pin && '--pin';
  if (name !== undefined)
    throw new UsageFailure(`${name} is of a registry elsewhere, and ${why} of this machine`, {
      advice: 'Nothing was done. Leave it out, or name the other one with --server or --context.',
    });
}

function placeOfContext(name: string, saved: SavedContext, over: Omit<SavedContext, 'server'>): Promise<RemotePlace> {
  const { server, token_file, ca_file, pin } = saved;
  const merged = { server, token_file: over.token_file ?? token_file, ca_file: over.ca_file ?? ca_file, pin: over.pin ?? pin };
  return placeOf(`${name}, ${server}`, merged);
}

async function placeOf(
  name: string,
  { server, token_file: tokenFile, ca_file: caFile, pin: pinText }: SavedContext,
): Promise<RemotePlace> {
  const target = parseTarget(server);
  if (target === undefined) throw new UsageFailure(`${name}: expected ${TARGET_SYNTAX}`);
  const pin = pinText === undefined ? undefined : parsePin(pinText);
  if (pin === undefined && pinText !== undefined) throw new UsageFailure(`${name}: expected for the pin ${PIN_SYNTAX}`);
  const token = tokenFile === undefined ? undefined : (await readSecretFile(tokenFile, '--token-file')).trim();
  if (token !== undefined && !TOKEN.test(token))
    throw new UsageFailure('the file of --token-file has no token in it', {
      advice: 'It has one line, as `latchkey-auth-server token create` wrote it.',
    });
  if (token === undefined && target.kind === 'https')
    throw new UsageFailure(`${name}: the token is missing`, {
      advice:
        'Name its file with --token-file. An administrator makes one on the machine: latchkey-auth-server token create --help',
    });
  const ca = caFile === undefined ? undefined : await readPlainFile(caFile);
  return { name, connection: { target, token, ca, pin } };
}
