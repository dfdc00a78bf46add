// The model of commit and recovery holds, and spin finds every mutant of it, at the bounds that
// take a moment.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const check = fileURLToPath(new URL('../../../../docs/model/check', import.meta.url));
const hasTools = spawnSync('spin', ['-V']).status === 0 && spawnSync('gcc', ['--version']).status === 0;

it.skipIf(!hasTools)('the model holds and no mutant of it does (needs spin and gcc)', { timeout: 300_000 }, () => {
  const { status, stdout, stderr } = spawnSync(check, ['--quick'], { encoding: 'utf8' });
  expect(status, `${stdout}${stderr}`).toBe(0);
  expect(stdout.match(/^model: /gm)).toHaveLength(2);
  expect(stdout.match(/^mutant: /gm)).toHaveLength(20);
});
