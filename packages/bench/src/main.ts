/** `pnpm bench` */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFile, Failure, main, program, withExamples } from '@latchkey/runtime';
import { Command } from 'commander';
import { holds } from './figure.js';
import { describeMachine, load, refuseMemory } from './machine.js';
import { registrySuite } from './registry/suite.js';
import { footprintSuite } from './footprint/suite.js';
import { formatReport, type Report } from './report.js';
import type { Suite } from './suite.js';

const ROUNDS = 5;
const QUICK_ROUNDS = 3;

interface BenchOptions {
  readonly quick?: true;
  readonly json?: string;
  readonly check?: true;
  readonly folder: string;
}

function suiteCommand(name: string, description: string, suite: Suite): Command {
  const command = new Command(name)
    .description(description)
    .option('--quick', `${QUICK_ROUNDS} rounds instead of ${ROUNDS}`)
    .option('--json <file>', 'write it to a new file, too')
    .option('--check', 'fail where a limit does not hold')
    .option('--folder <dir>', 'where the stores are put meanwhile, on a disk', tmpdir())
    .action((options: BenchOptions) => bench(name, suite, options));
  return withExamples(command, `pnpm bench ${name}`, `pnpm bench ${name} --quick --check --json ${name}.json`);
}

async function bench(name: string, suite: Suite, { quick, json, check, folder: parent }: BenchOptions): Promise<void> {
  await refuseMemory(parent);
  const folder = await mkdtemp(join(parent, 'latchkey-bench-'));
  const clear = (): Promise<void> => rm(folder, { recursive: true, force: true });
  // What runs meanwhile fails for want of it, and with that the command ends.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void clear());
  const rounds = quick === true ? QUICK_ROUNDS : ROUNDS;
  try {
    const [date, loadBefore] = [new Date().toISOString(), load()];
    const outcome = await suite({ rounds, folder, tell });
    const report: Report = { suite: name, date, rounds, machine: describeMachine(), load: [loadBefore, load()], ...outcome };
    process.stdout.write(formatReport(report));
    if (json !== undefined) await createFile(json, `${JSON.stringify(report, null, 2)}\n`);
    const broken = report.figures.filter((figure) => holds(figure) === false).length;
    if (check === true && broken > 0) throw new Failure(`${broken} ${broken === 1 ? 'limit does' : 'limits do'} not hold`);
  } finally {
    await clear();
  }
}

function tell(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${what} ...\n`);
}

await main(
  program(
    'bench',
    'What Latchkey costs, as ratios to what was measured in the same run',
    new URL('../package.json', import.meta.url),
  )
    .addCommand(suiteCommand('registry', 'the registry at 1,000 and at 1,000,000 nodes', registrySuite))
    .addCommand(
      suiteCommand('footprint', 'the node agent on a device: memory at rest, time to the first message', footprintSuite),
    ),
);
