// Proves that the last line of a whole check counts the tests of every step that ran, whichever
// steps were left out, and that a step without tests does not fail the check.

import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, expect, it } from 'vitest';

const TOTALS = fileURLToPath(new URL('../../../../.ci/totals', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'latchkey-totals-'));
const GREEN = '\u001b[32m';
const PLAIN = '\u001b[39m';

afterAll(() => {
  rmSync(folder, { recursive: true });
});

function totals(): string {
  return execFileSync(TOTALS, [folder], { encoding: 'utf8' });
}

it('counts nothing where no step ran', () => {
  expect(totals()).toBe('0 passed, 0 failed, 0 skipped\n');
});

it('adds up what vitest printed, in colour or not, and passes over all else', () => {
  writeFileSync(join(folder, 'check'), `12 passed\n      Tests  ${GREEN}5142 passed${PLAIN} | 10 skipped (5152)\n`);
  writeFileSync(join(folder, 'deployment'), ' Test Files  3 passed (3)\n      Tests  1 failed | 28 passed (29)\n');
  writeFileSync(join(folder, 'demo'), 'six nodes joined\n');
  expect(totals()).toBe('5170 passed, 1 failed, 10 skipped\n');
});
