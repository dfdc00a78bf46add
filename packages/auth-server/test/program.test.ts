// Proves that a command is made without the others and without what they load, that it says the
// same as among all of them, and that advice knows them.

import { readFile } from 'node:fs/promises';
import { adviceTargets, formatCommandLine, withPlaceOptions } from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';
import { type Command, CommanderError } from 'commander';
import { expect, it } from 'vitest';
import { ADVICE_TARGETS } from '../src/advice-targets.js';
import { authServerProgram } from '../src/program.js';

async function namesFor(word?: string): Promise<string[]> {
  return (await authServerProgram(word)).commands.map((command) => command.name());
}

it.each([
  ['node', ['node']],
  ['master-key', ['master-key']],
  ['--version', []],
])('%s is made, and nothing else', async (word, names) => {
  expect(await namesFor(word)).toEqual(names);
});

it.each([undefined, '--help', 'help', 'nod', 'constructor'])('all commands are made for %s', async (word) => {
  const all = await namesFor(word);
  expect(all).toContain('deliver');
  expect(all).toHaveLength(new Set(all).size);
  expect(all.length).toBeGreaterThan(20);
});

it('advice knows of each command what the command itself says', async () => {
  expect(ADVICE_TARGETS).toEqual(adviceTargets(await authServerProgram()));
});

it.each([
  ['order list', '--data ./data', 'order list --data ./data'],
  ['health --url http://localhost', '--data ./data', 'health --url http://localhost'],
  ['order list | latchkey-auth-server backup', '--context plant', 'order list --context plant | latchkey-auth-server backup'],
  ['controller set 00000001', '--server unix:/api.sock', 'controller set 00000001'],
  ['no-such', '--data ./data', 'no-such --data ./data'],
])('advice of `node show` names `%s` for one with %s', async (words, options, line) => {
  const root = await authServerProgram('node');
  const [show] = root.commands[0]?.commands.filter((command) => command.name() === 'show') ?? [];
  if (show === undefined) throw new Error('there is no `node show`');
  show.parseOptions(options.split(' '));
  const advised = withPlaceOptions(['latchkey-auth-server', ...words.split(' ')], show);
  expect(formatCommandLine(advised)).toBe(`latchkey-auth-server ${line}`);
});

it('a command made by itself prints the same help and the same errors as among all', async () => {
  const all = await authServerProgram();
  for (const { name, commands } of all.commands.map((command) => ({ name: command.name(), commands: command.commands }))) {
    const paths = [[name], ...commands.map((command) => [name, command.name()])];
    for (const path of paths) {
      for (const words of [['--help'], ['--no-such'], ['lits'], []])
        expect(await printedBy(await authServerProgram(name), [...path, ...words])).toBe(
          await printedBy(all, [...path, ...words]),
        );
      expect(await printedBy(all, [...path, '--help'])).toContain(`Usage: latchkey-auth-server ${path.join(' ')}`);
    }
  }
});

/** What is printed for words up to where a command would run. */
async function printedBy(root: Command, words: readonly string[]): Promise<string> {
  let printed = '';
  const write = (text: string): void => void (printed += text);
  const prepare = (command: Command): void => {
    command.exitOverride().configureOutput({ writeOut: write, writeErr: write });
    if (command.commands.length === 0) command.action(() => write('it runs'));
    command.commands.forEach(prepare);
  };
  prepare(root);
  try {
    await root.parseAsync(words, { from: 'user' });
  } catch (error) {
    if (error instanceof Failure) write(`${error.message}\n${error.advice}`);
    else if (!(error instanceof CommanderError)) throw error;
  }
  return printed;
}

it.each([
  ['main', ['@latchkey/runtime/cli', './commands/priority.js', './program.js']],
  ['commands/priority', ['node:fs', 'node:os']],
  ['program', ['@latchkey/runtime/cli', './advice-targets.js']],
  ['advice-targets', []],
])('%s loads no command at the start', async (name, modules) => {
  const text = await readFile(new URL(`../src/${name}.ts`, import.meta.url), 'utf8');
  const imports = text.matchAll(/^import (?!type ).* from '(.*)';$/gm);
  expect(Array.from(imports, ([, module]) => module)).toEqual(modules);
});
