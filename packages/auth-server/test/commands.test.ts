// Proves that each command of the administrator tells how it is used, takes no key as an argument,
// and is wrong in words.

import { ManifestNotWritten } from '@latchkey/operations';
import { endTimeArgument, startTimeArgument } from '@latchkey/runtime/cli';
import { type CommandLine, Failure } from '@latchkey/runtime/failure';
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
import type { ManifestOutputOptions } from '../src/commands/manifest-output.js';
import { toWriteAgain } from '../src/commands/order-create.js';
import { orderCommand } from '../src/commands/order.js';
import {
  checkWindow,
  describeWindow,
  installerArgument,
  installerOfFile,
  type JoinWindow,
  storedWindow,
} from '../src/commands/order-options.js';
import { registryCommand } from '../src/commands/registry.js';
import { runCommand } from '../src/commands/run.js';
import { upgradeCommand } from '../src/commands/upgrade.js';

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
  registryCommand(),
  runCommand(),
  upgradeCommand(),
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
    for (const { flags } of named) expect(flags).toMatch(/-(?:file|command) <|<file>$/);
    for (const argument of command.registeredArguments) expect(argument.name()).not.toMatch(/key|secret/);
  });

  it('says of the registry where it is', () => {
    expect(command.options.map(({ long }) => long)).toContain('--data');
  });
});

it('there are as many as are known: one that is added is looked at', () => {
  expect(commands.length).toBe(45);
});

describe('an option that takes a time', () => {
  const timed = commands.flatMap(([name, command]) =>
    command.options.filter(({ flags }) => flags.endsWith('<time>')).map((option) => [`${name} ${option.long}`, option] as const),
  );

  it('is known here', () => {
    expect(timed.map(([name]) => name.replace('latchkey-auth-server ', ''))).toEqual([
      'audit list --since',
      ...['export', 'node list', 'node why', 'node disable', 'node enable', 'node move', 'node set', 'node remove'].flatMap(
        (command) => [`${command} --expiring-before`, `${command} --since`],
      ),
      'order create --join-from',
      'order create --join-until',
      'order list --since',
      'order open --join-from',
      'order open --join-until',
    ]);
  });

  // One parser: a date is the whole day, in local time.
  it.each(timed)('%s takes a date for the whole day, and says so', (_, { long, description, parseArg }) => {
    const time: unknown = parseArg?.('2026-12-24', undefined);
    const [first, next] = [new Date(2026, 11, 24).getTime(), new Date(2026, 11, 25).getTime()];
    expect(time).toMatchObject({ at: long === '--join-until' ? next - 1 : first });
    expect(() => parseArg?.('soon', undefined)).toThrow('expected a date such as 2026-12-24');
    expect(description).toContain('a date, which is the whole day, or a time; local, unless');
  });
});

describe('a window for first joins', () => {
  const window = (from: string | undefined, until: string): JoinWindow => ({
    ...(from === undefined ? {} : { joinFrom: startTimeArgument(from) }),
    joinUntil: endTimeArgument(until),
  });

  it('may be one day, and has both ends with their zones', () => {
    expect(() => checkWindow(window('2999-12-24', '2999-12-24'))).not.toThrow();
    expect(describeWindow(window('2999-12-24T08:00Z', '2999-12-24+01:00'))).toBe(
      ' from 2999-12-24T08:00:00Z until 2999-12-24T23:59:59.999+01:00',
    );
    expect(storedWindow(window('2999-12-24T08:00Z', '2999-12-24+01:00'))).toEqual({
      joinFrom: Date.UTC(2999, 11, 24, 8),
      joinUntil: Date.UTC(2999, 11, 24, 23) - 1,
    });
  });

  it('is refused where it ends before it begins, and where it is over, with the times', () => {
    expect(() => checkWindow(window('2999-12-25Z', '2999-12-24Z'))).toThrow(
      '--join-until 2999-12-24T23:59:59.999Z is not after --join-from 2999-12-25T00:00:00Z',
    );
    expect(() => checkWindow(window(undefined, '2020-12-24Z'))).toThrow('2020-12-24T23:59:59.999Z is over already');
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
  ])('is not one of %s', (_, text) =>
    expect(() => installerArgument(text)).toThrow('1 to 128 characters that can be seen, on one line'),
  );

  it('is the end of the name of a file that is longer', () => {
    expect(installerOfFile(`/${'x'.repeat(200)}/a\nb.csv`)).toBe(`${'x'.repeat(120)}/a?b.csv`);
  });
});

describe('advice that hands keys over again', () => {
  const recipients = ['age1one', 'age1two'];

  /** Options that the named command does not know, and its arguments. */
  function parsed([program, name, sub, ...words]: CommandLine): unknown {
    expect(program).toBe('latchkey-auth-server');
    const command = commands.find(([full]) => full === `latchkey-auth-server ${name} ${sub}`)?.[1];
    return command?.parseOptions([...words]);
  }

  it.each<[string, Partial<ManifestOutputOptions>, readonly string[]]>([
    ['to recipients', { recipient: recipients }, ['--recipient', 'age1one', '--recipient', 'age1two']],
    ['to a passphrase', { passphraseFile: 'words.txt' }, ['--passphrase-file', 'words.txt']],
    ['plain', {}, []],
  ])('leaves a manifest as it was ordered: %s', (_, readers, words) => {
    const failed = new ManifestNotWritten(7, new Failure('cannot write for-kim/manifest.csv: no space left on the device'));
    const { message, run } = toWriteAgain(failed, { out: 'for-kim', ...readers });
    expect(message).toContain('no space left');
    expect(run).toEqual([['latchkey-auth-server', 'order', 'export', '7', '--out', 'for-kim', ...words]]);
    expect(parsed(run[0]!)).toEqual({ operands: ['7'], unknown: [] });
  });
});
