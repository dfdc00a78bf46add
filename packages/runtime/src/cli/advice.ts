/**
 * Command lines that advice prints: quoted for a shell, with the options that say where the present
 * command works.
 */

import { type Command, Help, type Option } from 'commander';
import type { CommandLine, Failure } from '../failure.js';

/** State folders of daemons in packages and images, for advice about another machine. */
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

/** Heading in `--help` for the options that say where a command works. */
const PLACE_GROUP = 'Where it works:';

/**
 * Puts the options of each command before those that say where it works, which many commands share.
 * `--help` and the manual have them in that order.
 */
export function sortOptions(command: Command): Command {
  const isPlace = (option: Option): boolean => placeOptions.has(option);
  const { options } = command;
  const sorted = [...options.filter((option) => !isPlace(option)), ...options.filter(isPlace)];
  (options as Option[]).splice(0, options.length, ...sorted);
  for (const option of sorted) if (isPlace(option)) option.helpGroup(PLACE_GROUP);
  command.configureHelp({ ...command.configureHelp(), groupItems: withPlaceGroupLast });
  command.commands.forEach(sortOptions);
  return command;
}

/**
 * Groups items for `--help`. commander begins with the group of the first option of a command, and
 * adds `--help` last: a command that has place options only would list those before "Options:".
 */
function withPlaceGroupLast<T extends Command | Option>(
  items: T[],
  visible: T[],
  groupOf: (item: T) => string,
): Map<string, T[]> {
  const groups = new Help().groupItems(items, visible, groupOf);
  const places = groups.get(PLACE_GROUP);
  groups.delete(PLACE_GROUP);
  return places === undefined ? groups : groups.set(PLACE_GROUP, places);
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

/** What advice has to know of a command that it names. */
export interface AdviceTarget {
  /** It never works on a registry elsewhere. */
  readonly isLocal: boolean;
  /** Options that say where it works, as `--data`. */
  readonly placeOptions: readonly string[];
}

/** Commands by their words without the program's name: `node list`. */
export type AdviceTargets = ReadonlyMap<string, AdviceTarget>;

const targetsOfOthers = new WeakMap<Command, AdviceTargets>();

/** Has advice know commands of the program that were not made. */
export function addAdviceTargets(root: Command, targets: AdviceTargets): void {
  targetsOfOthers.set(root, targets);
}

/** Returns what advice has to know of each command of a program that was made. */
export function adviceTargets(root: Command): AdviceTargets {
  const targets = new Map<string, AdviceTarget>();
  const add = (commands: readonly Command[], path: string): void => {
    for (const command of commands) {
      targets.set(path + command.name(), describeTarget(command));
      add(command.commands, `${path}${command.name()} `);
    }
  };
  add(root.commands, '');
  return targets;
}

function describeTarget(command: Command): AdviceTarget {
  const options = command.options.filter((option) => placeOptions.has(option));
  return { isLocal: local.has(command), placeOptions: options.flatMap(({ long }) => long ?? []) };
}

/** Tells whether a command line that `called` prints works on another machine only. */
export function isOutOfReach(words: CommandLine, called: Command): boolean {
  if (!elsewhere.has(called)) return false;
  return splitAtPipes(words).some((command) => findTarget(command, called)?.isLocal === true);
}

/** Returns the command that a command line names, if it belongs to the program of `called`. */
function findTarget([program, ...words]: CommandLine, called: Command): AdviceTarget | undefined {
  const root = rootOf(called);
  if (program !== root.name()) return undefined;
  let found = root;
  for (const word of words) {
    const next = found.commands.find((command) => command.name() === word);
    if (next === undefined) break;
    found = next;
  }
  return found === root ? findOther(words, targetsOfOthers.get(root)) : describeTarget(found);
}

function findOther(words: CommandLine, targets: AdviceTargets | undefined): AdviceTarget | undefined {
  if (words.length === 0) return undefined;
  return targets?.get(words.join(' ')) ?? findOther(words.slice(0, -1), targets);
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
    const target = findTarget(command, called);
    for (const option of given) {
      const { long } = option;
      if (long === undefined || target?.placeOptions.includes(long) === false) continue;
      if (!command.includes(long)) all.push(long, String(called.getOptionValue(option.attributeName())));
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
