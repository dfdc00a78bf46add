/** What every command shares: options that parse, errors that help, exit codes that are stable. */

import { readFileSync } from 'node:fs';
import { formatId, parseId } from '@latchkey/protocol';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { formatCommandLine, isOutOfReach, withPlaceOptions } from './advice.js';
import { describeListen, explainPeerSyntax, type Endpoint, parseEndpoint, parsePeerEndpoint } from '../net/endpoint.js';
import { exitNow } from '../daemon/exit-now.js';
import { type CommandLine, EXIT, Failure, systemFailure } from '../failure.js';
import { LOG_LEVELS } from '../daemon/log.js';

/** Creates a program named `latchkey-...`, with the version of its package. */
export function program(name: string, description: string, packageUrl: URL): Command {
  const { version } = JSON.parse(readFileSync(packageUrl, 'utf8')) as { version: string };
  return new Command(name).description(description).version(version);
}

/** Adds the examples that end a command's help. */
export function withExamples(command: Command, ...examples: readonly string[]): Command {
  return command.addHelpText('after', `\nExamples:\n${examples.map((example) => `  $ ${example}`).join('\n')}`);
}

/**
 * Runs the command in `process.argv`, prints what went wrong to standard error, and sets the exit
 * code.
 */
export async function main(command: Command): Promise<void> {
  // New files belong to this user only, even those that a library creates.
  process.umask(0o077);
  // Node.js would open its debugger to every user of this machine, and with it all keys.
  process.on('SIGUSR1', () => undefined);
  // A file that would get larger than this process may make one (RLIMIT_FSIZE) is a write that
  // fails, not the end of the process.
  process.on('SIGXFSZ', () => undefined);
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    // `command | head` closes our standard output early: no reason to complain.
    if (error.code === 'EPIPE') exitNow(EXIT.ok);
    exitNow(reportError(command.name(), stdoutFailure(error)));
  });
  exitOverrideAll(command, command.name());
  rejectRepeatedOptions(command);
  rejectWrongPaths(command);
  unsetEmptyVariables(command);
  let called: Command | undefined;
  command.hook('preAction', (_, action) => {
    called = action;
  });
  try {
    await command.parseAsync();
  } catch (error) {
    const code = reportError(command.name(), error, called);
    // Help and version: that they cannot be written is heard of later.
    await written();
    // A daemon that could not start may hold sockets and timers already.
    process.exit(code);
  }
}

/** Resolves once the handler of standard output has heard of what could not be written. */
function written(): Promise<void> {
  return new Promise((resolve) => void process.stdout.write('', () => setImmediate(resolve)));
}

/**
 * `NAME=` in a unit, a script or an image means that NAME is not set; commander would take it for
 * an empty value.
 */
function unsetEmptyVariables(command: Command): void {
  for (const { envVar } of command.options) if (envVar !== undefined && process.env[envVar] === '') delete process.env[envVar];
  command.commands.forEach(unsetEmptyVariables);
}

/** The command may have succeeded before its output failed, for example created an order. */
function stdoutFailure(error: Error): Failure {
  const { message } = systemFailure('cannot write to standard output', error);
  return new Failure(message, {
    advice: 'What was to be done may be done all the same: look before you run it again.',
    cause: error,
  });
}

/** Without this a subcommand's usage error would end the process with commander's own exit code. */
function exitOverrideAll(command: Command, name: string): void {
  command.exitOverride().showHelpAfterError('(--help shows how it is used)');
  command.configureOutput({ outputError: (text, write) => write(`${name}: ${redactKeys(text)}`) });
  for (const sub of command.commands) exitOverrideAll(sub, name);
}

/**
 * If an option is given twice, commander uses the last value and silently drops the other. Options
 * that may be repeated collect a list.
 */
function rejectRepeatedOptions(command: Command): void {
  for (const option of command.options) {
    if (option.isBoolean()) continue;
    let times = 0;
    command.on(`option:${option.name()}`, () => {
      times += 1;
      if (times > 1 && !Array.isArray(command.getOptionValue(option.attributeName())))
        command.error(`error: option '${option.flags}' is given twice, and takes one value`);
    });
  }
  command.commands.forEach(rejectRepeatedOptions);
}

/** What a command calls an option or an argument that takes a path. */
const PATHS: Readonly<Record<string, string>> = { dir: 'the path of a folder', file: 'the path of a file' };
/** What is made there: some of it holds keys, and none of it is for standard output. */
const MADE: ReadonlySet<string> = new Set(['out', 'to']);

/**
 * An empty path, as of a variable that is not set, would be the working directory, or nothing.
 * Whoever says `--out -` means no file of that name.
 */
function rejectWrongPaths(command: Command): void {
  for (const option of command.options) {
    const expected = PATHS[/<(\w+)(?:\.\w+)?>$/.exec(option.flags)?.[1] ?? ''];
    if (expected === undefined) continue;
    command.on(`option:${option.name()}`, (value: string) => {
      if (value === '') command.error(`error: option '${option.flags}' is empty: expected ${expected}`);
      if (value === '-' && MADE.has(option.name()))
        command.error(`error: option '${option.flags}' is -: expected ${expected}, not standard output`);
    });
  }
  command.hook('preAction', () => {
    for (const [place, argument] of command.registeredArguments.entries()) {
      const expected = PATHS[argument.name()];
      if (expected !== undefined && command.args[place] === '')
        command.error(`error: argument '<${argument.name()}>' is empty: expected ${expected}`);
    }
  });
  command.commands.forEach(rejectWrongPaths);
}

function reportError(name: string, error: unknown, called?: Command): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  if (error instanceof Failure) {
    const advice = error.advice === undefined ? [] : [error.advice];
    const lines = [`${name}: ${error.message}`, ...advice, ...error.run.map((words) => commandToRun(words, called))];
    process.stderr.write(redactKeys(`${lines.join('\n')}\n`));
    return error.exitCode;
  }
  const message = error instanceof Error ? error.message : String(error);
  process.stderr.write(redactKeys(`${name}: internal error: ${message}\nPlease report it with the command you ran.\n`));
  return EXIT.failed;
}

/**
 * A line with a command to run next, for a person to paste: indented, and as `called` was called.
 */
export function commandToRun(words: CommandLine, called: Command | undefined): string {
  if (called === undefined) return `  ${formatCommandLine(words)}`;
  const line = `  ${formatCommandLine(withPlaceOptions(words, called))}`;
  return isOutOfReach(words, called) ? `${line}   # on the machine of the registry` : line;
}

/** A key that was given where a name belongs is not repeated. */
function redactKeys(text: string): string {
  return text.replace(/[0-9a-f]{32,}|AGE-SECRET-KEY-(?!1\.\.\.)\S+|lk_[a-z2-7]{32,}/gi, '[withheld: it looks like a key]');
}

/** An ID argument: 8 hex digits. */
export function idArgument(text: string): number {
  const id = parseId(text);
  if (id === undefined) throw new InvalidArgumentError(`an ID is written as 8 hex digits, e.g. ${formatId(1)}`);
  return id;
}

/** A HOST:PORT argument that names a peer. */
export function peerArgument(text: string): Endpoint {
  const endpoint = parsePeerEndpoint(text);
  if (endpoint === undefined) throw new InvalidArgumentError(explainPeerSyntax(text));
  return endpoint;
}

/** A repeatable HOST:PORT option to listen on; port 0 lets the system choose. */
export function listenOption(text: string, before: readonly Endpoint[] | undefined): readonly Endpoint[] {
  const endpoint = parseEndpoint(text);
  if (endpoint === undefined) throw new InvalidArgumentError(describeListen(text));
  return [...(before ?? []), endpoint];
}

/** How much a daemon logs; stronger than its configuration. */
export function logLevelOption(): Option {
  return new Option('--log-level <level>', 'how much to log').choices(LOG_LEVELS);
}

/** A whole number from `from` to `to`. */
export function integerArgument(from: number, to: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || value < from || value > to)
      throw new InvalidArgumentError(`expected a whole number from ${from} to ${to}`);
    return value;
  };
}
