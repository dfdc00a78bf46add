import { once } from 'node:events';
import { userInfo } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { markLocal, repeatInAdvice } from '@latchkey/runtime/cli';
import { UsageFailure } from '@latchkey/runtime/failure';
import { findMasterKey, type MasterKeyOptions, masterKeyOptions, type MasterKeySource, readMasterKey } from '@latchkey/keyring';
import { type Context, pluralize } from '@latchkey/operations';
import type { Secret } from '@latchkey/protocol';
import { type Command, Option } from 'commander';
import type { Registry } from '@latchkey/registry';
import { isPostgresUrl, requireNoPassword, URL_SYNTAX } from '../postgres-url.js';
import { type LocationOptions, locateRegistry, openRegistry } from '../registry-location.js';
import { placeOptions, type RemotePlace } from './place-options.js';
import { withProgress } from './progress.js';

export { pluralize };

/** Characters per write. */
const WRITE_THRESHOLD = 65_536;

/** Options of every command on a registry: the locations of the registry and of its master key. */
export interface RegistryOptions extends MasterKeyOptions, LocationOptions {
  /** The registry is elsewhere: all else is not set. */
  readonly place?: RemotePlace;
}

/**
 * Adds the options of a command that works on the registry of this machine only.
 *
 * @param config option for the configuration, with what the command reads from it
 * @param why sentence that explains why the command does not use the API
 */
export function registryOptions(command: Command, config: Option = configOption(CONFIG_DESCRIPTION), why?: string): Command {
  for (const flags of ['--server <url>', '--context <name>']) command.addOption(refusedOption(command, flags, why));
  if (why !== undefined) command.addHelpText('after', `\n${why} It has no --server.`);
  markLocal(command);
  return localOptions(command, dataOption().makeOptionMandatory(), config);
}

/**
 * Options of a command that works on a registry elsewhere as well.
 *
 * @param takesServer false where `--server` means something else
 */
export function operationOptions(command: Command, takesServer: boolean = true): Command {
  return placeOptions(localOptions(command, dataOption(), configOption(CONFIG_DESCRIPTION)), takesServer);
}

function localOptions(command: Command, data: Option, config: Option): Command {
  command.addOption(repeatInAdvice(data)).addOption(localDataOption()).addOption(repeatInAdvice(config));
  return masterKeyOptions(command);
}

/** The words that call a command, without the program's name. */
function pathOf(command: Command): string {
  const words: string[] = [];
  for (let one = command; one.parent !== null; one = one.parent) words.unshift(one.name());
  return words.join(' ');
}

/** An unknown option would not say why. */
function refusedOption(command: Command, flags: string, why: string | undefined): Option {
  return new Option(flags).hideHelp().argParser(() => {
    throw new UsageFailure(`\`${pathOf(command)}\` works on the registry of this machine, and does not go over the API`, {
      advice: `${why === undefined ? '' : `${why} `}Nothing was changed. Run it on the machine of the registry, with --data.`,
    });
  });
}

export function configOption(description: string): Option {
  return new Option('--config <file>', description).env('LATCHKEY_CONFIG');
}

const CONFIG_DESCRIPTION = 'YAML configuration of the auth-server: its `registry:` says which database has the registry';

function dataOption(): Option {
  return new Option('--data <dir>', `folder of the registry, or ${URL_SYNTAX}`).env('LATCHKEY_DATA').argParser(dataArgument);
}

function dataArgument(text: string): string {
  // At once: nothing repeats a URL with a password in it.
  if (isPostgresUrl(text)) requireNoPassword(text, '--data');
  return text;
}

function localDataOption(): Option {
  const description = 'folder of this machine, where --data names a database: the master key, and what was seen of the registry';
  return repeatInAdvice(new Option('--local-data <dir>', description).env('LATCHKEY_LOCAL_DATA'));
}

export async function masterKeySourceOf(options: RegistryOptions): Promise<MasterKeySource> {
  return findMasterKey(options, 'master-key', (await locateRegistry(options)).folder);
}

export async function masterKeyOf(options: RegistryOptions): Promise<Secret> {
  return readMasterKey(await masterKeySourceOf(options));
}

/** Who runs this command, for the audit log. */
export function currentUser(): string {
  try {
    return `user ${userInfo().username}`;
  } catch {
    // A user ID without a name.
    return `user ${process.getuid?.() ?? 'unknown'}`;
  }
}

/** Opens the registry for one command, while a server may be running on it. */
export async function withRegistry<T>(options: RegistryOptions, use: (registry: Registry) => T | Promise<T>): Promise<T> {
  const location = await locateRegistry(options);
  const registry = await openRegistry(location, () => masterKeyOf(options), currentUser());
  try {
    return await use(registry);
  } finally {
    await registry.close();
  }
}

/** Opens the registry for the operations of one command. */
export function withContext<T>(options: RegistryOptions, use: (context: Context) => T | Promise<T>): Promise<T> {
  return withRegistry(options, (registry) =>
    use({ registry, clock: registry.clock, actor: currentUser(), progress: withProgress }),
  );
}

/**
 * Asks for confirmation on the terminal, unless `--yes` was given. Without a terminal, `--yes` is
 * required.
 */
export async function confirm(question: string, yes: true | undefined): Promise<void> {
  if (yes === true) return;
  if (!process.stdin.isTTY) throw new UsageFailure(question, { advice: 'Nothing was changed. Say --yes to do it.' });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    // Ctrl-C and Ctrl-D are answers too.
    const answer = await terminal.question(`${question} [y/N] `).catch(() => '');
    if (!/^y(?:es)?$/i.test(answer.trim())) throw new UsageFailure('not confirmed', { advice: 'Nothing was changed.' });
  } finally {
    terminal.close();
  }
}

export function yesOption(): Option {
  return new Option('--yes', 'do not ask');
}

export function printJson(value: unknown): void {
  process.stdout.write(`${JSON.stringify(value, null, 2)}\n`);
}

/** A JSON array with one element a line, written as it is read: a registry may hold a million. */
export function printJsonList(values: Iterable<unknown> | AsyncIterable<unknown>): Promise<void> {
  return printLines(listLines(values));
}

async function* listLines(values: Iterable<unknown> | AsyncIterable<unknown>): AsyncGenerator<string> {
  let separator = '[\n';
  for await (const value of values) {
    yield `${separator}${JSON.stringify(value)}`;
    separator = ',\n';
  }
  yield separator === '[\n' ? '[]\n' : '\n]\n';
}

/**
 * Writes pieces to standard output as fast as they are read. The reader may stop for ever, so the
 * pieces must hold no resource open.
 */
export async function printLines(pieces: Iterable<string> | AsyncIterable<string>): Promise<void> {
  let buffered = '';
  for await (const piece of pieces) {
    buffered += piece;
    if (buffered.length < WRITE_THRESHOLD) continue;
    if (!process.stdout.write(buffered)) await once(process.stdout, 'drain');
    buffered = '';
  }
  process.stdout.write(buffered);
}
