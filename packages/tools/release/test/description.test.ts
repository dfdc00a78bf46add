// Proves that manual and completions have every command and option that --help has, and that the
// programs they are for can read them.

import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { adviceTargets } from '@latchkey/runtime/cli';
import { describe, expect, it, onTestFinished } from 'vitest';
import { bash, fish, zsh } from '../src/completion.js';
import { manual } from '../src/manual.js';
import { flatten, commandTree } from '../src/command-tree.js';
import { PRODUCTS } from '../src/product.js';

const info = {
  version: '0.1.0',
  date: '2026-01-01',
  files: [['/etc/latchkey/x.yaml', 'configuration']] as const,
  seeAlso: ['x'],
};
const trees = PRODUCTS.map(({ command, program }) => [command, commandTree(program), program] as const);

const FOLDER = new URL('../../../../docs/', import.meta.url);
const DOCUMENTS = ['API.md', 'CONSOLE.md', 'INTEGRATION.md', 'OPERATIONS.md', 'SECURITY.md', '../README.md']
  .map((name) => readFileSync(new URL(name, FOLDER), 'utf8'))
  .join('\n');

function has(program: string): boolean {
  return spawnSync(program, ['--version']).error === undefined;
}

/** What a shell says of a script that it only reads. */
function syntax(shell: string, script: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-completion-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'script'), script);
  return check(shell, ['-n', join(folder, 'script')], '');
}

function check(program: string, args: readonly string[], input: string): string {
  const { stdout, stderr } = spawnSync(program, args, { input, encoding: 'utf8' });
  return stdout + stderr;
}

describe.each(trees)('%s', (_command, shape, program) => {
  const all = flatten(shape);

  it('has commands, options and examples', () => {
    expect(all.length).toBeGreaterThan(3);
    expect(all.filter(({ examples }) => examples.length === 0).map(({ path }) => path)).toEqual([]);
  });

  it('has examples of commands and options that there are', () => {
    const names = all.map(({ path }) => path.join(' '));
    const examples = all.flatMap((command) => command.examples).filter((example) => example.startsWith(`${shape.path[0]} `));
    for (const example of examples) {
      const [own = ''] = example.split(' | ');
      const named = all.findLast(({ path }) => `${own} `.startsWith(`${path.join(' ')} `));
      const options = ['--help', ...(named?.options ?? []).map(({ long }) => long)];
      expect(names, example).toContain(named?.path.join(' '));
      expect(named?.commands, example).toEqual([]);
      for (const [option] of own.matchAll(/--[a-z-]+/g)) expect(options, example).toContain(option);
    }
  });

  it('is whole in manual and completions', () => {
    const page = manual(shape, info).replaceAll('\\-', '-');
    const shells = [bash(shape), zsh(shape), fish(shape)];
    for (const { path, options } of all) {
      expect(page).toContain(path.slice(1).join(' '));
      for (const { flags, long, variable } of options) {
        expect(page).toContain(`.B ${flags}`);
        expect(page).toContain(variable ?? '');
        for (const text of shells) expect(text).toContain(long.slice(2));
      }
    }
  });

  it('has options and variables that the documents name', () => {
    const names = all.flatMap(({ options }) =>
      options.flatMap(({ long, variable }) => (variable === undefined ? [long] : [long, variable])),
    );
    const missing = [...new Set(names)].filter((name) => !new RegExp(`${name}(?![\\w-])`).test(DOCUMENTS));
    // What every program has.
    expect(missing.filter((name) => name !== '--help' && name !== '--version')).toEqual([]);
  });

  it('has the options that say where a command works behind its own', () => {
    for (const { path, options } of all) {
      const places = adviceTargets(program).get(path.slice(1).join(' '))?.placeOptions ?? [];
      const longs = options.map(({ long }) => long).filter((long) => long !== '--help');
      const own = longs.filter((long) => !places.includes(long));
      expect(longs, path.join(' ')).toEqual([...own, ...longs.filter((long) => places.includes(long))]);
    }
  });

  it.skipIf(!has('bash'))('completes in bash', () => {
    expect(check('bash', ['-n'], bash(shape))).toBe('');
    const [program = ''] = shape.path;
    const complete = (...words: readonly string[]): string[] => {
      const set = `COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}`;
      const name = `_${program.replaceAll('-', '_')}`;
      return check('bash', [], `${bash(shape)}\n${set}; ${name}; printf '%s\\n' "\${COMPREPLY[@]}"`)
        .trim()
        .split('\n');
    };
    expect(complete(program, 'ru')).toEqual(['run']);
    expect(complete(program, 'run', '--log-level', 'd')).toEqual(['debug']);
    expect(complete(program, 'run', '--conf')).toEqual(['--config']);
  });

  it.skipIf(!has('zsh'))('is read by zsh (needs zsh)', () => expect(syntax('zsh', zsh(shape))).toBe(''));

  it.skipIf(!has('fish'))('is read by fish (needs fish)', () => expect(syntax('fish', fish(shape))).toBe(''));

  it.skipIf(!has('man'))('is formatted by man without a warning (needs man)', () => {
    const { stderr } = spawnSync('man', ['--warnings', '-l', '-'], {
      input: manual(shape, info),
      encoding: 'utf8',
      env: { ...process.env, MANPAGER: 'cat' },
    });
    expect(stderr).toBe('');
  });
});
