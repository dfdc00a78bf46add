// Proves that each command of the administrator tells how it is used, takes no key as an argument, and is wrong in words.

import { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { auditCommand } from '../src/commands/audit.js';
import { backupCommand, restoreCommand } from '../src/commands/backup.js';
import { clockCommand } from '../src/commands/clock.js';
import { controllerCommand } from '../src/commands/controller.js';
import { exportCommand } from '../src/commands/export.js';
import { importCommand } from '../src/commands/import.js';
import { initCommand } from '../src/commands/init.js';
import { masterKeyCommand } from '../src/commands/master-key.js';
import { nodeCommand } from '../src/commands/node.js';
import { orderCommand } from '../src/commands/order.js';
import { installerArgument, installerOfFile, timeArgument } from '../src/commands/order-terms.js';
import { runCommand } from '../src/commands/run.js';

const program = new Command('latchkey-auth-server');
for (const command of [
  auditCommand(),
  backupCommand(),
  restoreCommand(),
  clockCommand(),
  controllerCommand(),
  exportCommand(),
  importCommand(),
  initCommand(),
  masterKeyCommand(),
  nodeCommand(),
  orderCommand(),
  runCommand(),
])
  program.addCommand(command);

/** Every command that does something, by its full name. */
function leaves(command: Command, name: string): [string, Command][] {
  if (command.commands.length === 0) return [[name, command]];
  return command.commands.flatMap((sub) => leaves(sub, `${name} ${sub.name()}`));
}

const commands = leaves(program, 'latchkey-auth-server');

function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({ writeOut: (part) => (text += part) }).outputHelp();
  return text;
}

describe.each(commands)('%s', (name, command) => {
  it('has a description and examples that it would take', () => {
    const help = helpOf(command);
    const examples = [...help.slice(help.indexOf('\nExamples:\n')).matchAll(/^ {2}\$ (.*)$/gm)].map((match) => match[1] ?? '');
    expect(examples.length).toBeGreaterThan(0);
    expect(examples[0]).toMatch(new RegExp(`^${name}(?: |$)`));
    const options = new Set(command.options.map(({ long }) => long));
    for (const example of examples.filter((text) => text.startsWith(name))) {
      const [own = ''] = example.split(' | ');
      for (const [option] of own.matchAll(/--[a-z-]+/g)) expect(options, example).toContain(option);
      const wanted = command.options.filter(({ mandatory, envVar }) => mandatory && envVar === undefined);
      expect(
        wanted.filter(({ long }) => !own.includes(long ?? '')),
        example,
      ).toEqual([]);
    }
    expect(command.description()).toMatch(/^[a-z].*[^.]$/);
  });

  it('takes its keys from files and commands, never as an argument', () => {
    const named = command.options.filter(({ long, flags }) => /key|ik|secret|passphrase/.test(long ?? '') && flags.includes('<'));
    for (const { long } of named) expect(long).toMatch(/-(?:file|command)$/);
    for (const argument of command.registeredArguments) expect(argument.name()).not.toMatch(/key|secret/);
  });

  it('says of the registry where it is', () => {
    expect(command.options.map(({ long }) => long)).toContain('--data');
  });
});

it('there are as many as are known: one that is added is looked at', () => {
  expect(commands.length).toBe(37);
});

describe('a time', () => {
  it.each([
    ['2026-12-01', '2026-12-01T00:00:00.000Z'],
    ['2026-12-01T08:00Z', '2026-12-01T08:00:00.000Z'],
    ['2026-12-01T08:00:01.5+01:00', '2026-12-01T07:00:01.500Z'],
  ])('is read from %s', (text, time) => {
    expect(new Date(timeArgument(text)).toISOString()).toBe(time);
  });

  it.each(['', 'tomorrow', '2026-13-01', '2026-12-01T08:00', '01.12.2026', '1795000000000'])('is not read from "%s"', (text) => {
    expect(() => timeArgument(text)).toThrow('expected a time such as');
  });

  // `Date.parse` takes the 31st of a month that has 30 days for the first of the next.
  it('is not read from a day that there is not', () => {
    expect(() => timeArgument('2026-02-31')).toThrow('expected a time such as');
  });
});

describe('the name of an installer', () => {
  it('is taken without the space around it, up to 128 characters', () => {
    expect(installerArgument('  Kim & Sons\n')).toBe('Kim & Sons');
    expect(installerArgument('김'.repeat(128))).toBe('김'.repeat(128));
    expect(installerArgument('🔑'.repeat(128))).toBe('🔑'.repeat(128));
  });

  it.each([
    ['no character', ' '],
    ['129 characters', 'x'.repeat(129)],
    ['two lines', 'a\nb'],
    ['a control character', 'a\u001b[2Jb'],
  ])('is not one of %s', (_, text) => expect(() => installerArgument(text)).toThrow('1 to 128 characters, on one line'));

  it('is the end of the name of a file that is longer', () => {
    expect(installerOfFile(`/${'x'.repeat(200)}/a\nb.csv`)).toBe(`${'x'.repeat(120)}/a?b.csv`);
  });
});
