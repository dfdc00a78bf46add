/** The manual page of a command, in man(7). */

import { flatten, type OptionNode, type CommandNode } from './command-tree.js';

export interface ManualInfo {
  readonly version: string;
  /** YYYY-MM-DD */
  readonly date: string;
  readonly files: readonly (readonly [path: string, what: string])[];
  readonly seeAlso: readonly string[];
}

export function manual(root: CommandNode, { version, date, files, seeAlso }: ManualInfo): string {
  const [name = ''] = root.path;
  const below = flatten(root).slice(1);
  const lines = [
    `.TH ${name.toUpperCase()} 1 ${date} "Latchkey ${version}" "User Commands"`,
    '.SH NAME',
    `${roff(name)} \\- ${roff(root.description)}`,
    '.SH SYNOPSIS',
    ...below.filter(({ commands }) => commands.length === 0).flatMap((command) => ['.PP', synopsis(command)]),
    '.SH OPTIONS',
    ...root.options.flatMap(optionLines),
    '.SH COMMANDS',
    ...below.flatMap(commandLines),
    '.SH FILES',
    ...files.flatMap(([path, what]) => ['.TP', `.I ${roff(path)}`, roff(what)]),
    '.SH "EXIT STATUS"',
    ...[
      ['0', 'done'],
      ['1', 'failure at work: network, disk, refusal, or what was named does not exist'],
      ['2', 'wrong usage or configuration'],
    ].flatMap(([code = '', what = '']) => ['.TP', `.B ${code}`, what]),
    '.SH "SEE ALSO"',
    seeAlso.map((other) => `.BR ${roff(other)} (1)`).join(' ,\n'),
  ];
  return `${lines.join('\n')}\n`;
}

function synopsis({ path, usage }: CommandNode): string {
  return `.B ${roff(path.join(' '))}\n${roff(usage)}`;
}

function commandLines(command: CommandNode): string[] {
  return [
    `.SS ${roff(command.path.slice(1).join(' '))}`,
    roff(command.description),
    ...command.options.flatMap(optionLines),
    ...(command.examples.length === 0 ? [] : ['.PP', 'Examples:']),
    ...command.examples.flatMap((example) => ['.PP', '.RS 4', '.nf', roff(example), '.fi', '.RE']),
  ];
}

function optionLines({ flags, description, choices, variable }: OptionNode): string[] {
  const among = choices.length === 0 ? '' : ` (${choices.join(', ')})`;
  const or = variable === undefined ? '' : ` (in the environment: ${variable})`;
  return ['.TP', `.B ${roff(flags)}`, roff(`${description}${among}${or}`)];
}

/** Text as it stands: a hyphen is a minus to be copied, and no line is taken for a request. */
function roff(text: string): string {
  return text
    .replaceAll('\\', '\\e')
    .replaceAll('-', '\\-')
    .replaceAll('’', '\\(cq')
    .replaceAll(/^([.'])/gm, '\\&$1');
}
