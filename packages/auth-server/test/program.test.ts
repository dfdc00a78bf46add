// Proves that the version is said without what the commands load, and that advice knows them all.

import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { authServerProgram } from '../src/program.js';

async function namesFor(word?: string): Promise<string[]> {
  return (await authServerProgram(word)).commands.map((command) => command.name());
}

it('no command is made for the version', async () => {
  expect(await namesFor('--version')).toEqual([]);
});

it.each([undefined, 'node', '--help', 'help', 'nod', 'constructor'])('all commands are made for %s', async (word) => {
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
