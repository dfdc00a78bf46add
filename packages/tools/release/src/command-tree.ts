/** What a command line offers, as data: manual and completions are made of it. */

import type { Command, Option } from 'commander';

export interface OptionNode {
  readonly long: string;
  readonly short: string | undefined;
  /** `--state <dir>` */
  readonly flags: string;
  readonly description: string;
  readonly takesValue: boolean;
  /** `dir` of `--state <dir>`; a file or folder unless it says otherwise. */
  readonly value: string | undefined;
  readonly choices: readonly string[];
  /** The environment variable that stands for it. */
  readonly variable: string | undefined;
}

export interface CommandNode {
  /** `latchkey-auth-server`, `node`, `list` */
  readonly path: readonly string[];
  readonly description: string;
  /** What stands behind the names: `<id> [options]` */
  readonly usage: string;
  readonly options: readonly OptionNode[];
  readonly examples: readonly string[];
  readonly commands: readonly CommandNode[];
}

export function commandTree(command: Command, above: readonly string[] = []): CommandNode {
  const path = [...above, command.name()];
  const help = command.createHelp();
  return {
    path,
    description: command.description(),
    usage: command.usage(),
    options: help.visibleOptions(command).map(optionNode),
    examples: examplesOf(command),
    commands: help
      .visibleCommands(command)
      .filter((sub) => sub.name() !== 'help')
      .map((sub) => commandTree(sub, path)),
  };
}

/** The command and all below it. */
export function flatten(command: CommandNode): CommandNode[] {
  return [command, ...command.commands.flatMap(flatten)];
}

function optionNode(option: Option): OptionNode {
  const { long, short, flags, description, argChoices, required, optional, envVar } = option;
  return {
    long: long ?? flags,
    short,
    flags,
    description,
    takesValue: required || optional,
    value: /[<[]([^\]>.]+)/.exec(flags)?.[1],
    choices: argChoices ?? [],
    variable: envVar,
  };
}

/** They stand behind the help, where `withExamples` put them. */
function examplesOf(command: Command): string[] {
  let text = '';
  const before = { ...command.configureOutput() };
  command.configureOutput({ writeOut: (part) => (text += part) });
  command.outputHelp();
  command.configureOutput(before);
  return [...(text.split('\nExamples:\n')[1] ?? '').matchAll(/^ {2}\$ (.*)$/gm)].map((match) => match[1] ?? '');
}
