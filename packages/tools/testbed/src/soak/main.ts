/** `pnpm soak`: long runs against real processes on loopback. */

import { integerArgument, main, program, withExamples } from '@latchkey/runtime/cli';
import { Argument } from 'commander';
import type { Campaign, CampaignResult, Scale } from './campaign.js';
import { coreDump } from './core-dump.js';
import { failovers } from './failovers.js';
import { firewall, floods } from './floods.js';
import { hostile } from './hostile.js';
import { kills } from './kills.js';
import { proofs } from './proofs.js';
import { storm } from './storm.js';
import { upgrades } from './upgrades.js';

const CAMPAIGNS: Readonly<Record<string, Campaign>> = {
  storm,
  kills,
  failovers,
  upgrades,
  hostile,
  floods,
  firewall,
  proofs,
  core: coreDump,
};

interface Options {
  readonly short?: true;
  readonly medium?: true;
  readonly seed?: number;
  readonly passThrough?: true;
  readonly json?: true;
}

async function run(name: string, { short, medium, seed = Date.now() % 2 ** 31, passThrough, json }: Options): Promise<void> {
  const scale: Scale = short === true ? 'short' : medium === true ? 'medium' : 'full';
  const names = name === 'all' ? Object.keys(CAMPAIGNS) : [name];
  for (const each of names) {
    const began = performance.now();
    const outcome = await CAMPAIGNS[each]?.({ scale, seed, passThrough: passThrough === true, report: showProgress });
    if (outcome === undefined) continue;
    const seconds = Math.round((performance.now() - began) / 1000);
    showProgress('');
    if (json === true)
      process.stdout.write(
        `${JSON.stringify({ campaign: each, scale, seed, passThrough: passThrough === true, seconds, ...outcome })}\n`,
      );
    else print(each, { seed, seconds, ...outcome });
    if (outcome.failures.length > 0) process.exitCode = 1;
  }
}

function print(
  name: string,
  { counts, failures, seed, seconds }: CampaignResult & { readonly seed: number; readonly seconds: number },
): void {
  process.stdout.write(`${name}, seed ${seed}, ${seconds} s\n`);
  for (const [what, count] of Object.entries(counts)) process.stdout.write(`  ${what}: ${count}\n`);
  process.stdout.write(
    failures.length === 0 ? '  all of it held\n' : `  FAILED\n${failures.map((line) => `    ${line}\n`).join('')}`,
  );
}

/** On a terminal one line that is written over. */
function showProgress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

await main(
  withExamples(
    program(
      'latchkey-soak',
      'Long runs against real processes on loopback: what was run, with counts; exit code 1 if anything did not hold',
      new URL('../../package.json', import.meta.url),
    )
      .addArgument(new Argument('[campaign]', 'what to run').choices([...Object.keys(CAMPAIGNS), 'all']).default('all'))
      .option('--short', 'the form that `pnpm test:ci` runs')
      .option('--medium', 'the form for each push: some two minutes')
      .option('--seed <number>', 'of the faults', integerArgument(0, 2 ** 31 - 1))
      .option('--pass-through', 'with a controller that gets no key of a node, as `proofs` and `core` have it')
      .option('--json', 'a JSON object a line')
      .action(run),
    'pnpm soak kills',
    'pnpm soak storm --short --seed 7',
    'pnpm soak kills --medium --pass-through',
  ),
);
