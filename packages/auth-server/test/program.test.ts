// Proves that one command is made without the others, so that it starts without what they load.

import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
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

it.each([
  ['main', ['@latchkey/runtime/cli', './program.js']],
  ['program', ['@latchkey/runtime/cli']],
])('%s loads no command at the start', async (name, modules) => {
  const text = await readFile(new URL(`../src/${name}.ts`, import.meta.url), 'utf8');
  const imports = text.matchAll(/^import (?!type ).* from '(.*)';$/gm);
  expect(Array.from(imports, ([, module]) => module)).toEqual(modules);
});
