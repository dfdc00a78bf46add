/** `pnpm bench` */

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createFile } from '@latchkey/runtime/files';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { main, program, withExamples } from '@latchkey/runtime/cli';
import { Argument } from 'commander';
import { airSuite } from './message-size/suite.js';
import { commandsSuite } from './commands/suite.js';
import { coresSuite } from './cores/suite.js';
import { compareRuns, isRegression, formatComparison, readStoredRun } from './compare.js';
import { deliverySuite } from './delivery/suite.js';
import { writeDocuments } from './document.js';
import { enginesSuite } from './engines/suite.js';
import { enrolmentSuite } from './enrolment/suite.js';
import { feedSuite } from './feed/suite.js';
import { growthSuite } from './growth/suite.js';
import { withinLimits } from './ratio.js';
import { joinsSuite } from './joins/suite.js';
import { describeMachine, load, assertOnDisk } from './machine.js';
import { peersSuite } from './reference-servers/suite.js';
import { registrySuite } from './registry/suite.js';
import { readersSuite } from './readers/suite.js';
import { footprintSuite } from './footprint/suite.js';
import { describeRun, formatSuite, type Report, type SuiteReport } from './report.js';
import type { Depth, Suite } from './suite.js';
import { whereSuite } from './where/suite.js';

const ROUNDS = 5;
const QUICK_ROUNDS = 3;

const SUITES: Readonly<Record<string, Suite>> = {
  air: airSuite,
  footprint: footprintSuite,
  joins: joinsSuite,
  registry: registrySuite,
  commands: commandsSuite,
  cores: coresSuite,
  delivery: deliverySuite,
  engines: enginesSuite,
  enrolment: enrolmentSuite,
  feed: feedSuite,
  growth: growthSuite,
  peers: peersSuite,
  readers: readersSuite,
};
/**
 * `peers` is measured with --peers, or by name, for it takes what is not in every machine. The
 * others are measured by name only.
 */
const BY_NAME: ReadonlySet<string> = new Set([
  'commands',
  'cores',
  'delivery',
  'engines',
  'enrolment',
  'feed',
  'growth',
  'peers',
  'readers',
]);
const DEFAULT_SUITES: readonly string[] = Object.keys(SUITES).filter((name) => !BY_NAME.has(name));

interface BenchOptions {
  readonly quick?: true;
  readonly long?: true;
  readonly json?: string;
  readonly out?: string;
  readonly compare?: string;
  readonly peers?: true;
  readonly check?: true;
  readonly where?: true;
  readonly folder: string;
}

async function bench(names: readonly string[], options: BenchOptions): Promise<void> {
  if (options.where === true && names.join() !== 'joins')
    throw new UsageFailure('--where says where a join goes: it is for the suite `joins` only', {
      advice: 'Run: pnpm bench joins --where',
    });
  const stored = options.compare === undefined ? undefined : await readStoredRun(options.compare);
  await assertOnDisk(options.folder);
  const report = await measure(
    names.length > 0 ? names : [...DEFAULT_SUITES, ...(options.peers === true ? ['peers'] : [])],
    options,
  );
  if (options.json !== undefined) await createFile(options.json, `${JSON.stringify(report, null, 2)}\n`);
  if (stored !== undefined) {
    const comparisons = compareRuns(stored, report);
    process.stdout.write(formatComparison(comparisons));
    const worse = comparisons.filter(isRegression).length;
    if (worse > 0)
      throw new Failure(`${worse} ${worse === 1 ? 'ratio is' : 'ratios are'} a quarter worse than in ${options.compare}`);
  }
  const broken = report.suites.flatMap(({ figures }) => figures).filter((figure) => withinLimits(figure) === false).length;
  if (options.check === true && broken > 0) throw new Failure(`${broken} ${broken === 1 ? 'limit does' : 'limits do'} not hold`);
}

async function measure(names: readonly string[], { quick, long, out, where, folder: parent }: BenchOptions): Promise<Report> {
  const folder = await mkdtemp(join(parent, 'latchkey-bench-'));
  const clear = (): Promise<void> => rm(folder, { recursive: true, force: true });
  let interruptedBy: NodeJS.Signals | undefined;
  const interrupt = (signal: NodeJS.Signals): void => {
    interruptedBy = signal;
    // What runs meanwhile fails for want of its folder, and with that the command ends.
    void clear();
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupt);
  const depth: Depth = quick === true ? 'quick' : long === true ? 'long' : 'full';
  const rounds = quick === true ? QUICK_ROUNDS : ROUNDS;
  const [date, loadBefore, machine] = [new Date().toISOString(), load(), describeMachine()];
  const reportWith = (suites: readonly SuiteReport[]): Report => ({
    date,
    depth,
    rounds,
    machine,
    load: [loadBefore, load()],
    suites,
  });
  const suites: SuiteReport[] = [];
  try {
    for (const [name, suite] of tasksOf(names, where === true, out !== undefined)) {
      const own = await mkdtemp(join(folder, `${name}-`));
      const measured = {
        suite: name,
        ...(await suite({ rounds, depth, folder: own, report: (what) => showProgress(`${name}: ${what}`) })),
      };
      suites.push(measured);
      process.stdout.write(formatSuite(measured));
      // At once: a later suite that fails does not take half an hour's figures with it.
      if (out !== undefined) await writeDocuments(out, reportWith([measured]));
      await rm(own, { recursive: true, force: true });
    }
  } catch (error) {
    throw interruptedBy === undefined ? error : new Failure(`interrupted by ${interruptedBy}`);
  } finally {
    await clear();
  }
  const report = reportWith(suites);
  process.stdout.write(`\n${describeRun(report)}\n`);
  return report;
}

/** The documents also say where the time of a join goes. */
function tasksOf(names: readonly string[], isWhereOnly: boolean, isDocumented: boolean): (readonly [string, Suite])[] {
  const where = ['where', whereSuite] as const;
  if (isWhereOnly) return [where];
  return names.flatMap((name) => {
    const suite = SUITES[name];
    if (suite === undefined) return [];
    return [[name, suite] as const, ...(name === 'joins' && isDocumented ? [where] : [])];
  });
}

function showProgress(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`${what} ...\n`);
}

const command = program(
  'bench',
  'What Latchkey costs, as ratios to what was measured in the same run',
  new URL('../package.json', import.meta.url),
)
  .addArgument(
    new Argument('[suites...]', `what to measure (default: ${DEFAULT_SUITES.join(', ')})`).choices(Object.keys(SUITES)),
  )
  .option('--quick', `${QUICK_ROUNDS} rounds instead of ${ROUNDS}, and less of everything: some two minutes in all`)
  .option('--long', 'ten minutes of joins to look at memory, instead of twenty seconds')
  .option('--peers', 'libcoap and hostapd, too, where they are installed')
  .option('--where', 'where the CPU time and the memory of a join go, room by room, and nothing else')
  .option('--json <file>', 'write it to a new file, too')
  .option('--out <folder>', 'put the tables and plots into the documents there')
  .option('--compare <file>', 'tell what differs from a run that --json wrote; fail where a steady ratio is a quarter worse')
  .option('--check', 'fail where a limit does not hold')
  .option('--folder <dir>', 'where the stores are put meanwhile, on a disk', tmpdir())
  .action(bench);

await main(
  withExamples(
    command,
    'pnpm bench',
    'pnpm bench joins --check --json joins.json',
    'pnpm bench joins --where',
    'pnpm bench --quick --compare packages/tools/bench/baseline.json',
  ),
);
