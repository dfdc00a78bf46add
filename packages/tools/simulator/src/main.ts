/** `pnpm simulate` */

import { availableParallelism } from 'node:os';
import { EXIT, UsageFailure } from '@latchkey/runtime/failure';
import { integerArgument, main, program, withExamples } from '@latchkey/runtime/cli';
import { runSeeds } from './worker-pool.js';
import { firstCaught, mutantNamed, MUTANTS, worldsOfMutant } from './mutants/index.js';
import { failureLines, invariantName, summary } from './report.js';
import { minimize } from './minimize.js';
import { type WorldResult, run, type RunOptions, WORLD_KINDS, type WorldKind } from './run.js';
import { LIVENESS_MS } from './world.js';

const MAX_SEED = Number.MAX_SAFE_INTEGER / 2;
/** Each mutant must be caught by a seed up to this. */
const MUTANT_SEEDS = 2_000;

interface Options {
  readonly seeds: number;
  readonly from: number;
  readonly seed?: number;
  readonly minutes?: number;
  readonly workers: number;
  readonly trace?: true;
  readonly mutants?: true;
  readonly mutant: string | undefined;
  readonly worlds: WorldKind | undefined;
  readonly json?: true;
}

function worldKind(text: string): WorldKind {
  const kind = WORLD_KINDS.find((one) => one === text);
  if (kind === undefined)
    throw new UsageFailure(`no worlds are called '${text}'`, { advice: `One of these: ${WORLD_KINDS.join(', ')}.` });
  return kind;
}

function print(...lines: readonly string[]): void {
  process.stdout.write(lines.map((line) => `${line}\n`).join(''));
}

const command = withExamples(
  program(
    'simulate',
    'runs the three roles in worlds where everything fails, and checks the invariants',
    new URL('../package.json', import.meta.url),
  )
    .option('--seeds <n>', 'how many worlds', integerArgument(1, 1e9), 1_000)
    .option('--from <seed>', 'the first seed', integerArgument(0, MAX_SEED), 1)
    .option('--minutes <m>', 'go on after those until so many minutes have passed in all', integerArgument(0, 1e5))
    .option(
      '--seed <seed>',
      'one world; if it fails, the fewest faults that are enough, and all that happened',
      integerArgument(0, MAX_SEED),
    )
    .option('--trace', 'with --seed: all that happened, with all faults')
    .option('--mutants', `show which of the first ${MUTANT_SEEDS} seeds catches each mutant of the protocol`)
    .option('--mutant <name>', 'play by the rules of a mutant')
    .option(
      '--worlds <kind>',
      `one of ${WORLD_KINDS.join(', ')}: with a registry that servers share, as in PostgreSQL, or not`,
      worldKind,
    )
    .option('--workers <n>', 'worlds at a time', integerArgument(1, 256), availableParallelism())
    .option('--json', 'for scripts')
    .action(simulate),
  'pnpm simulate --seeds 5000',
  'pnpm simulate --seed 4711 --trace',
  'pnpm simulate --worlds shared-registry --seeds 500',
  "pnpm simulate --mutant 'stale read for M2' --seeds 100",
);

async function simulate(options: Options): Promise<void> {
  const { mutant, mutants, seed } = options;
  if (mutant !== undefined && mutantNamed(mutant) === undefined)
    throw new UsageFailure(`no mutant is called '${mutant}'`, { advice: '--mutants lists them.' });
  if (mutants === true) return catchMutants(options);
  if (seed !== undefined) return showSeed(seed, options);
  return runMany(options);
}

async function runMany({ seeds, from, minutes = 0, workers, mutant, worlds, json }: Options): Promise<void> {
  const start = performance.now();
  const seconds = (): number => (performance.now() - start) / 1000;
  const total = await runSeeds({
    from,
    seeds,
    until: minutes * 60,
    now: seconds,
    workers,
    mutant,
    worlds: worldsOf({ mutant, worlds }),
    progress: ({ worlds }) => {
      if (process.stderr.isTTY) process.stderr.write(`\r${worlds} worlds, ${(worlds / seconds()).toFixed(0)} a second `);
    },
  });
  if (process.stderr.isTTY) process.stderr.write('\r\u001B[K');
  if (total.failed !== undefined) {
    const failed = await run(total.failed, rulesOf({ mutant, worlds }));
    return fail(failed, { mutant, worlds }, json === true);
  }
  if (json === true) print(JSON.stringify({ from, ...total, seconds: seconds(), failed: null }));
  else print(...summary(total, from, seconds()));
}

async function showSeed(seed: number, { mutant, worlds, trace, json }: Options): Promise<void> {
  const outcome = await run(seed, { ...rulesOf({ mutant, worlds }), trace: trace === true });
  if (trace === true) {
    if (json === true) print(JSON.stringify(outcome));
    else print(...outcome.log, '', describeResult(outcome));
    if (outcome.violation !== undefined) process.exitCode = EXIT.failed;
    return;
  }
  if (outcome.violation !== undefined) return fail(outcome, { mutant, worlds }, json === true);
  print(json === true ? JSON.stringify(outcome) : describeResult(outcome));
}

function describeResult({ seed, hash, events, faults, joinedAfterMs, violation }: WorldResult): string {
  const end =
    violation === undefined
      ? `all honest nodes had joined ${(joinedAfterMs / 1000).toFixed(1)} s after faults ended (${LIVENESS_MS / 1000} s allowed)`
      : `breaks ${invariantName(violation)}: ${violation.what}`;
  return `seed ${seed}, trace ${hash}: ${events} events, ${faults.length} faults; ${end}`;
}

interface Played {
  readonly mutant: string | undefined;
  readonly worlds: WorldKind | undefined;
}

async function fail(failed: WorldResult, played: Played, json: boolean): Promise<void> {
  process.exitCode = EXIT.failed;
  const minimized = await minimize(failed, rulesOf(played));
  const { mutant, worlds } = played;
  const where = worlds === undefined ? '' : ` --worlds ${worlds}`;
  const command = `pnpm simulate --seed ${failed.seed}${where}${mutant === undefined ? '' : ` --mutant '${mutant}'`}`;
  if (json) print(JSON.stringify({ ...minimized, allFaults: failed.faults.length, again: command }));
  else print(...failureLines(failed, minimized, command));
}

/** A mutant has its own kind of worlds, if none is named. */
function worldsOf({ mutant, worlds }: Played): WorldKind | undefined {
  return worlds ?? worldsOfMutant(mutant);
}

function rulesOf(played: Played): RunOptions {
  const rules = mutantNamed(played.mutant);
  const worlds = worldsOf(played);
  return rules === undefined ? { worlds } : { worlds, rules };
}

async function catchMutants({ json }: Options): Promise<void> {
  for (const mutant of MUTANTS) {
    const caught = await firstCaught(mutant, MUTANT_SEEDS);
    if (caught === undefined) process.exitCode = EXIT.failed;
    if (json === true) print(JSON.stringify({ mutant: mutant.name, ...caught }));
    else
      print(
        `${mutant.name.padEnd(52)} ${caught === undefined ? 'not caught' : `seed ${String(caught.seed).padStart(4)}  ${invariantName(caught)}`}`,
      );
  }
}

await main(command);
