// Proves that each test file runs in exactly one vitest project, so that no test is lost or run
// twice when files move.

import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { MOCKED, STORAGE, SYSTEM } from '../../../../vitest.config.js';

interface ListedFile {
  readonly file: string;
  readonly projectName: string;
}

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const VITEST = join(dirname(createRequire(import.meta.url).resolve('vitest/package.json')), 'vitest.mjs');

function listed(): ListedFile[] {
  const json = execFileSync(process.execPath, [VITEST, 'list', '--filesOnly', '--json'], { cwd: ROOT, encoding: 'utf8' });
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

it('each test file is in one project, and each name in a list is that of a file', () => {
  const files = listed();
  const paths = files.map(({ file }) => file);
  expect(paths.toSorted()).toEqual(testFiles(join(ROOT, 'packages')).toSorted());
  expect(new Set(files.map(({ projectName }) => projectName))).toEqual(
    new Set(['unit', 'unit-mocked', 'storage', 'simulation', 'system', 'testbed']),
  );
  const names = new Set(paths.map((path) => basename(path, '.test.ts')));
  const listedNames = [...MOCKED, ...STORAGE, ...SYSTEM];
  expect(listedNames.filter((name) => !names.has(name))).toEqual([]);
  expect(new Set(listedNames).size).toBe(listedNames.length);
});
