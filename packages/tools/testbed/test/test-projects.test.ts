// Proves that each test file runs in exactly one vitest project, and each project in exactly one of
// `pnpm test` and `pnpm test:ci`, so that no test is lost or run twice when files move.

import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { BROWSERS, CLUSTERS, LONGEST, MOCKED, PEERS, SOAK, STORAGE, SYSTEM } from '../../../../vitest.config.js';

interface ListedFile {
  readonly file: string;
  readonly projectName: string;
}

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const VITEST = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');

/** What the last command of a script in package.json, which is `vitest run`, runs. */
function listed(script: string): ListedFile[] {
  const { scripts } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
  const [, options = ''] = /vitest run (.+)$/.exec(scripts[script] ?? '') ?? [];
  const projects = options.replaceAll("'", '').split(' ');
  const json = execFileSync(process.execPath, [VITEST, 'list', '--filesOnly', '--json', ...projects], {
    cwd: ROOT,
    encoding: 'utf8',
  });
  return JSON.parse(json) as ListedFile[];
}

/** All test files of the packages, except those of `pnpm test:deployment`. */
function testFiles(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return ['node_modules', 'dist', 'deployment'].includes(entry.name) ? [] : testFiles(path);
    return entry.name.endsWith('.test.ts') ? [path] : [];
  });
}

/** What a test skips without: such a test is not one of `pnpm test`. */
const NEEDS_MORE = /\(needs (?:chromium|postgresql|spin and gcc)\)|PostgresCluster\.AVAILABLE/;
const namesOf = (files: readonly ListedFile[]): Set<string> => new Set(files.map(({ projectName }) => projectName));

it('each test file is in one project, and each name in a list is that of a file', () => {
  const [check, ci] = [listed('check'), listed('test:ci')];
  expect(namesOf(check)).toEqual(new Set(['unit', 'unit-mocked', 'storage', 'simulation', 'system', 'testbed']));
  expect(namesOf(ci)).toEqual(new Set(['clusters', 'peers', 'browsers', 'soak']));
  const paths = [...check, ...ci].map(({ file }) => file);
  expect(paths.toSorted()).toEqual(testFiles(join(ROOT, 'packages')).toSorted());
  expect(check.map(({ file }) => file).filter((path) => NEEDS_MORE.test(readFileSync(path, 'utf8')))).toEqual([]);
  const names = new Set(paths.map((path) => basename(path, '.test.ts')));
  const listedNames = [...MOCKED, ...STORAGE, ...SYSTEM, ...CLUSTERS, ...PEERS, ...BROWSERS, ...SOAK];
  expect(listedNames.filter((name) => !names.has(name))).toEqual([]);
  expect(LONGEST.filter((name) => !names.has(name))).toEqual([]);
  expect(new Set(listedNames).size).toBe(listedNames.length);
});

it('CI runs both, the projects of the second each by itself', () => {
  const steps = readFileSync(join(ROOT, '.ci/run'), 'utf8');
  expect(steps).toMatch(/^step check npx -y pnpm@12 test$/m);
  const [, long = ''] = /^long=\((.+)\)$/m.exec(steps) ?? [];
  const ci = namesOf(listed('test:ci'));
  expect(new Set(long.split(' '))).toEqual(new Set([...ci, 'deployment']));
  expect(steps).toContain('npx vitest run --project "$name"');
});
