/** `bench registry`: what the registry takes at a thousand nodes and at a million. */

import { join } from 'node:path';
import type { BarChart } from '../series.js';
import { type RatioMetric, ratioMetric, type RatioLimits } from '../ratio.js';
import { measureCommand } from '../command.js';
import type { SuiteResult, SuiteRun } from '../suite.js';
import { interleave, quantity, type Measurement } from '../interleave.js';
import { measureLmdbBaseline } from './lmdb-baseline.js';
import { Fleet } from './fleet.js';
import { InProcessRegistry } from './in-process.js';
import { measureServer } from './server-process.js';
import { RegistryFixture } from './registry-fixture.js';

/** How much of everything. */
export interface Sizes {
  /** Nodes in the two registries that are compared. */
  readonly few: number;
  readonly many: number;
  /** Lines of the shorter import; the longer one has `many`. */
  readonly shortImport: number;
  readonly lookUps: number;
  /** Pages of nodes, and counts. */
  readonly lists: number;
  /** Commits and joins with one in flight, and with 64. */
  readonly alone: number;
  readonly together: number;
  /** Over UDP, with the server in a process of its own. */
  readonly serverJoins: number;
}

const FULL: Sizes = {
  few: 1_000,
  many: 1_000_000,
  shortImport: 100_000,
  lookUps: 20_000,
  lists: 50,
  alone: 200,
  together: 1_000,
  serverJoins: 5_000,
};

/** What ten seconds are enough for. */
const QUICK: Sizes = {
  few: 1_000,
  many: 100_000,
  shortImport: 10_000,
  lookUps: 5_000,
  lists: 20,
  alone: 100,
  together: 500,
  serverJoins: 1_000,
};

/** A join must not cost more than this at `many` nodes, per join at `few`. */
const MAX_GROWTH_RATIO = { limit: 1.3 } as const;
/** Lines an import reads in a second on a machine that has nothing else to do. */
const LINES_PER_SECOND = 50_000;
const CONCURRENT = 64;

export async function registrySuite(run: SuiteRun, sizes: Sizes = run.depth === 'quick' ? QUICK : FULL): Promise<SuiteResult> {
  const imports = await measureImports(run, sizes);
  const fewFixture = new RegistryFixture(join(run.folder, 'few'), new Fleet(sizes.few), join(run.folder, 'few.csv'));
  await fewFixture.fleet.writeCsv(join(run.folder, 'few.csv'));
  await fewFixture.create();
  const pair: RegistryPair = { few: fewFixture, many: imports.fixture, names: [formatCount(sizes.few), formatCount(sizes.many)] };
  const figures = [
    ...imports.figures,
    ...(await measureInProcess(run, sizes, pair)),
    ...(await measurePages(run, pair)),
    ...(await measureServers(run, sizes, pair)),
  ];
  return { figures, remarks: imports.remarks, chart: chartOf(figures, pair) };
}

/** CPU time in both registries, of what is measured in both. */
function chartOf(figures: readonly RatioMetric[], { names }: RegistryPair): BarChart {
  const rows = figures
    .filter(({ what, unit, baseline }) => unit === 'us' && what.includes('CPU time') && baseline.name === names[0])
    .map(({ what, of, baseline }) => ({
      // "join, 1 in flight, CPU time", or "auth-server run, CPU time of a join over UDP".
      name: what.split(' CPU time of ').at(-1)?.replace(', CPU time', '') ?? what,
      values: [baseline.measured.median, of.measured.median],
    }));
  return { title: 'CPU time against the size of the registry', unit: 'us', legend: names.map((name) => `${name} nodes`), rows };
}

/** Two registries, and how many nodes are in each, in words. */
interface RegistryPair {
  readonly few: RegistryFixture;
  readonly many: RegistryFixture;
  readonly names: readonly [few: string, many: string];
}

/** What is measured the same way at both. */
async function compare<Q extends string>(
  run: SuiteRun,
  pair: RegistryPair,
  what: string,
  measure: (of: 'few' | 'many') => Promise<Measurement<Q>>,
  quantities: Readonly<Partial<Record<Q, readonly [suffix: string, unit: RatioMetric['unit'], rules?: RatioLimits]>>>,
): Promise<RatioMetric[]> {
  run.report(what);
  const { few, many } = await interleave<'few' | 'many', Q>(run.rounds, {
    few: () => measure('few'),
    many: () => measure('many'),
  });
  return (Object.entries(quantities) as [Q, [string, RatioMetric['unit'], RatioLimits?]][]).map(([name, [suffix, unit, rules]]) =>
    ratioMetric(
      `${what}${suffix}`,
      unit,
      { name: pair.names[1], values: quantity(many, name) },
      { name: pair.names[0], values: quantity(few, name) },
      rules,
    ),
  );
}

async function measureImports(
  run: SuiteRun,
  sizes: Sizes,
): Promise<{ readonly figures: RatioMetric[]; readonly remarks: string[]; readonly fixture: RegistryFixture }> {
  run.report('import');
  const sizeOf = { short: sizes.shortImport, long: sizes.many };
  const csv = (which: 'short' | 'long'): string => join(run.folder, `${which}.csv`);
  for (const which of ['short', 'long'] as const) await new Fleet(sizeOf[which]).writeCsv(csv(which));
  const fixtures = new Map<string, RegistryFixture>();
  /** Each round into a new registry; the last one stays. */
  const importInto = async (which: 'short' | 'long', round: number): Promise<Measurement<ImportQuantity>> => {
    await fixtures.get(which)?.remove();
    const fixture = new RegistryFixture(join(run.folder, `${which}-${round}`), new Fleet(sizeOf[which]), csv(which));
    fixtures.set(which, fixture);
    const taken = await fixture.create();
    const bare = await measureLmdbBaseline(fixture, join(run.folder, `${which}-bare-${round}`));
    const perLine = 1000 / sizeOf[which];
    return {
      wallUs: taken.wallMs * perLine,
      cpuUs: taken.cpuMs * perLine,
      anonymousMiB: taken.anonymousPeakMiB,
      residentMiB: taken.residentPeakMiB,
      bareWallUs: bare.wallMs * perLine,
      bareCpuUs: bare.cpuMs * perLine,
    };
  };
  const { short, long } = await interleave<'short' | 'long', ImportQuantity>(run.rounds, {
    short: (round) => importInto('short', round),
    long: (round) => importInto('long', round),
  });
  const lines = { short: `${formatCount(sizeOf.short)} lines`, long: `${formatCount(sizeOf.long)} lines` };
  const perPut = (what: string, of: 'wallUs' | 'cpuUs', per: 'bareWallUs' | 'bareCpuUs'): RatioMetric =>
    ratioMetric(
      what,
      'us',
      { name: lines.long, values: quantity(long, of) },
      { name: 'bare put of its row', values: quantity(long, per) },
    );
  const perShort = (what: string, unit: RatioMetric['unit'], name: ImportQuantity): RatioMetric =>
    ratioMetric(
      what,
      unit,
      { name: lines.long, values: quantity(long, name) },
      { name: lines.short, values: quantity(short, name) },
    );
  const figures = [
    perPut('import, a line', 'wallUs', 'bareWallUs'),
    perPut('import, a line, CPU time', 'cpuUs', 'bareCpuUs'),
    perShort('import, a line, CPU time', 'us', 'cpuUs'),
    perShort('import, anonymous memory, peak', 'MiB', 'anonymousMiB'),
    perShort('import, resident memory, peak', 'MiB', 'residentMiB'),
  ];
  await fixtures.get('short')?.remove();
  const fixture = fixtures.get('long');
  if (fixture === undefined) throw new RangeError('at least one round');
  const rate = (figure: RatioMetric | undefined): number => Math.round(1_000_000 / (figure?.of.measured.median ?? Number.NaN));
  const remarks = [
    `The longer import read ${formatCount(rate(figures[0]))} lines/s, and ${formatCount(rate(figures[1]))} in a second of CPU time; ` +
      `${formatCount(LINES_PER_SECOND)} lines/s are wanted where nothing else runs.`,
  ];
  return { figures, remarks, fixture };
}

type ImportQuantity = 'wallUs' | 'cpuUs' | 'anonymousMiB' | 'residentMiB' | 'bareWallUs' | 'bareCpuUs';

async function measureInProcess(run: SuiteRun, sizes: Sizes, pair: RegistryPair): Promise<RatioMetric[]> {
  const open = { few: await InProcessRegistry.open(pair.few), many: await InProcessRegistry.open(pair.many) };
  const cost = { wallUs: ['', 'us'], cpuUs: [', CPU time', 'us'] } as const;
  const bounded = { wallUs: ['', 'us', MAX_GROWTH_RATIO], cpuUs: [', CPU time', 'us', MAX_GROWTH_RATIO] } as const;
  const figures: RatioMetric[] = [];
  try {
    // What comes first pays for compiling.
    for (const one of Object.values(open)) await one.join(sizes.alone, CONCURRENT);
    figures.push(...(await compare(run, pair, 'lookup', (of) => open[of].lookUp(sizes.lookUps), cost)));
    figures.push(...(await compare(run, pair, 'page of 100 nodes, 2 filters, total', (of) => open[of].list(sizes.lists), cost)));
    figures.push(...(await compare(run, pair, 'counts of nodes by state', (of) => open[of].count(sizes.lists), cost)));
    figures.push(...(await compare(run, pair, 'commit, 1 in flight', (of) => open[of].commit(sizes.alone, 1), cost)));
    figures.push(
      ...(await compare(run, pair, 'commit, 64 in flight', (of) => open[of].commit(sizes.together, CONCURRENT), cost)),
    );
    figures.push(...(await compare(run, pair, 'join, 1 in flight', (of) => open[of].join(sizes.alone, 1), bounded)));
    figures.push(...(await compare(run, pair, 'join, 64 in flight', (of) => open[of].join(sizes.together, CONCURRENT), bounded)));
  } finally {
    for (const one of Object.values(open)) await one.close();
  }
  return figures;
}

async function measurePages(run: SuiteRun, pair: RegistryPair): Promise<RatioMetric[]> {
  const page = (of: 'few' | 'many', filter: readonly string[]): Promise<Measurement<'wallMs'>> =>
    measureCommand(['node', 'list', '--data', pair[of].folder, '--limit', '100', ...filter]).then(({ wallMs }) => ({ wallMs }));
  const quantities = { wallMs: ['', 'ms'] } as const;
  return [
    ...(await compare(run, pair, 'node list --limit 100', (of) => page(of, []), quantities)),
    ...(await compare(run, pair, 'node list --limit 100 --never-joined', (of) => page(of, ['--never-joined']), quantities)),
    ...(await compare(
      run,
      pair,
      'the same --state disabled: there is none',
      (of) => page(of, ['--state', 'disabled']),
      quantities,
    )),
  ];
}

function measureServers(run: SuiteRun, sizes: Sizes, pair: RegistryPair): Promise<RatioMetric[]> {
  return compare(run, pair, 'auth-server run', (of) => measureServer(pair[of], sizes.serverJoins), {
    startMs: [', until it listens', 'ms'],
    anonymousMiB: [', anonymous memory then', 'MiB'],
    residentMiB: [', resident memory then', 'MiB'],
    anonymousAfterMiB: [`, anonymous memory after ${formatCount(sizes.serverJoins)} joins`, 'MiB'],
    residentAfterMiB: [`, resident memory after ${formatCount(sizes.serverJoins)} joins`, 'MiB'],
    cpuUsPerJoin: [', CPU time of a join over UDP', 'us', MAX_GROWTH_RATIO],
  });
}

function formatCount(n: number): string {
  return n.toLocaleString('en');
}
