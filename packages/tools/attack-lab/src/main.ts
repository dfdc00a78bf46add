/** `pnpm attack-lab` */

import { EXIT } from '@latchkey/runtime/failure';
import { formatTable, main, program, withExamples } from '@latchkey/runtime/cli';
import { play } from './attack.js';
import { ATTACKS } from './attacks.js';

await main(
  withExamples(
    program(
      'attack-lab',
      'Plays known attacks against the draft read literally and against the profile',
      new URL('../package.json', import.meta.url),
    )
      .option('--json', 'print JSON')
      .action(run),
    'pnpm attack-lab',
    'pnpm --silent attack-lab --json',
  ),
);

async function run({ json = false }: { readonly json?: boolean }): Promise<void> {
  const outcomes = [];
  for (const attack of ATTACKS) outcomes.push(await play(attack));
  if (json) process.stdout.write(`${JSON.stringify(outcomes, null, 2)}\n`);
  else {
    const rows = outcomes.map(({ attack, againstDraft, againstProfile, sentence }) => [
      attack,
      againstDraft,
      againstProfile,
      sentence,
    ]);
    process.stdout.write(formatTable(['ATTACK', 'DRAFT', 'PROFILE', 'WHY'], rows));
  }
  if (outcomes.some(({ asDocumented }) => !asDocumented)) process.exitCode = EXIT.failed;
}
