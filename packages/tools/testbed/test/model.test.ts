// The models of commit and recovery, of what pass-through controllers know, and of the database's
// failovers hold, and spin finds every mutant of them, at the bounds that take a moment.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

const check = fileURLToPath(new URL('../../../../docs/model/check', import.meta.url));
const hasTools = spawnSync('spin', ['-V']).status === 0 && spawnSync('gcc', ['--version']).status === 0;

it.skipIf(!hasTools)('the models hold and no mutant of them does (needs spin and gcc)', { timeout: 1_200_000 }, () => {
  const { status, stdout, stderr } = spawnSync(check, ['--quick'], { encoding: 'utf8' });
  expect(status, `${stdout}${stderr}`).toBe(0);
  expect(stdout.match(/^model: /gm)).toHaveLength(5);
  expect(stdout.match(/^mutant: /gm)).toHaveLength(43);
});
