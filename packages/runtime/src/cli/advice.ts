/**
 * Command lines that advice prints: quoted for a shell, with the options that say where the present
 * command works.
 */

import type { Command, Option } from 'commander';
import type { CommandLine, Failure } from '../failure.js';

/**
 * Where packages and images keep the state of a daemon: for advice about a machine other than this
 * one.
 */
export const STATE_FOLDERS = {
  'auth-server': '/var/lib/latchkey/auth-server',
  controller: '/var/lib/latchkey/controller',
  'node-agent': '/var/lib/latchkey/node-agent',
} as const;

const PIPE = '|';
/** Words that a POSIX shell leaves as they are. */
const PLAIN_WORD = /^[\w@%+=:,./-]+$/;

/** Quotes a word for a POSIX shell. */
export function shellWord(word: string): string {
  return PLAIN_WORD.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

export function formatCommandLine(words: CommandLine): string {
  return words.map((word) => (word === PIPE ? PIPE : shellWord(word))).join(' ');
}

/** Reads what `formatCommandLine` wrote: words that are plain, or in single quotes. */
export function parseCommandLine(text: string): CommandLine {
  return Array.from(text.matchAll(/(?:'[^']*'|\\.|[^\s'\\])+/g), ([word]) =>
    word.replaceAll(/'([^']*)'|\\(.)/g, (_, quoted: string | undefined, escaped: string | undefined) => quoted ?? escaped ?? ''),
  );
}

/** The advice and the commands of a failure, for a line in a log. */
export function adviceInOneLine({ advice, run }: Pick<Failure, 'advice' | 'run'>): string | undefined {
  const parts = [...(advice === undefined ? [] : [advice]), ...run.map(formatCommandLine)];
  return parts.length === 0 ? undefined : parts.join(' ');
}

/**
 * What to do with a file that is encrypted, in the age format. Standard input has no name to give.
 */
export function decryptInto(name: string, plain: string): string {
  const source = name === 'standard input' ? '' : ` ${shellWord(name)}`;
  return `Decrypt it first, into a file of mode 0600: (umask 077; age -d${source} > ${plain})`;
}

/** Options without which a command that advice prints would not find what this one found. */
const placeOptions = new WeakSet<Option>();

/** Has the option repeated, as it was given, in the commands that advice prints. */
export function repeatInAdvice(option: Option): Option {
  placeOptions.add(option);
  return option;
}

/** Commands that work on a registry elsewhere now, and commands that never do. */
const elsewhere = new WeakSet<Command>();
const local = new WeakSet<Command>();

export function markElsewhere(command: Command): void {
  elsewhere.add(command);
}

export function markLocal(command: Command): void {
  local.add(command);
}

/** Tells whether a command line that `called` prints works on another machine only. */
export function isOutOfReach(words: CommandLine, called: Command): boolean {
  if (!elsewhere.has(called)) return false;
  return splitAtPipes(words).some((command) => {
    const target = findCommand(command, called);
    return target !== undefined && local.has(target);
  });
}

/** Returns the command of the program of `called` that a command line names. */
function findCommand([program, ...words]: CommandLine, called: Command): Command | undefined {
  const root = rootOf(called);
  if (program !== root.name()) return undefined;
  let found = root;
  for (const word of words) {
    const next = found.commands.find((command) => command.name() === word);
    if (next === undefined) break;
    found = next;
  }
  return found === root ? undefined : found;
}

/**
 * Adds to the commands of the same program in `words` the options of `called` that say where it
 * works. Options that the environment gave are left out: they hold for the next command too. So are
 * those that a command does not take.
 */
export function withPlaceOptions(words: CommandLine, called: Command): CommandLine {
  const program = rootOf(called).name();
  const given = called.options.filter(
    (option) => placeOptions.has(option) && called.getOptionValueSource(option.attributeName()) === 'cli',
  );
  const all: string[] = [];
  for (const command of splitAtPipes(words)) {
    if (all.length > 0) all.push(PIPE);
    all.push(...command);
    if (command[0] !== program || command.includes('--help')) continue;
    const target = findCommand(command, called);
    for (const option of given) {
      const { long } = option;
      if (target !== undefined && !target.options.some((one) => one.long === long && placeOptions.has(one))) continue;
      if (long !== undefined && !command.includes(long)) all.push(long, String(called.getOptionValue(option.attributeName())));
    }
  }
  return all;
}

function splitAtPipes(words: CommandLine): string[][] {
  const commands: string[][] = [[]];
  for (const word of words) {
    if (word === PIPE) commands.push([]);
    else commands.at(-1)?.push(word);
  }
  return commands;
}

function rootOf(command: Command): Command {
  return command.parent === null ? command : rootOf(command.parent);
}
