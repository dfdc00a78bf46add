/** `bench registry`: what the registry takes at a thousand nodes and at a million. */

import { join } from 'node:path';
import { type Figure, figure, type Rules } from '../figure.js';
import { measureCommand } from '../command.js';
import type { Outcome, Run } from '../suite.js';
import { inTurn, quantity, type Sample } from '../turns.js';
import { measureBarePuts } from './bare-puts.js';
import { Fleet } from './fleet.js';
import { InProcess } from './in-process.js';
import { measureServer } from './server-process.js';
import { Site } from './site.js';

/** How much of everything. */
export interface Sizes {
  /** Nodes in the two registries that are compared. */
  readonly few: number;
  readonly many: number;
  /** Lines of the shorter import; the longer one has `many`. */
  readonly shortImport: number;
  readonly lookUps: number;
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
  alone: 100,
  together: 500,
  serverJoins: 1_000,
};

/** A join must not cost more than this at `many` nodes, per join at `few`. */
const MAX_GROWTH = { limit: 1.3 } as const;
/** Lines an import reads in a second on a machine that has nothing else to do. */
const LINES_PER_SECOND = 50_000;
const TOGETHER = 64;

export async function registrySuite(run: Run, sizes: Sizes = run.extent === 'quick' ? QUICK : FULL): Promise<Outcome> {
  const imports = await measureImports(run, sizes);
  const fewSite = new Site(join(run.folder, 'few'), new Fleet(sizes.few), join(run.folder, 'few.csv'));
  await fewSite.fleet.writeCsv(join(run.folder, 'few.csv'));
  await fewSite.fill();
  const pair: Pair = { few: fewSite, many: imports.site, names: [counted(sizes.few), counted(sizes.many)] };
  const figures = [
    ...imports.figures,
    ...(await measureInProcess(run, sizes, pair)),
    ...(await measurePages(run, pair)),
    ...(await measureServers(run, sizes, pair)),
  ];
  return { figures, remarks: imports.remarks };
}

/** Two registries, and how many nodes are in each, in words. */
interface Pair {
  readonly few: Site;
  readonly many: Site;
  readonly names: readonly [few: string, many: string];
}

/** What is measured the same way at both. */
async function compare<Q extends string>(
  run: Run,
  pair: Pair,
  what: string,
  measure: (of: 'few' | 'many') => Promise<Sample<Q>>,
  quantities: Readonly<Partial<Record<Q, readonly [suffix: string, unit: Figure['unit'], rules?: Rules]>>>,
): Promise<Figure[]> {
  run.tell(what);
  const { few, many } = await inTurn<'few' | 'many', Q>(run.rounds, { few: () => measure('few'), many: () => measure('many') });
  return (Object.entries(quantities) as [Q, [string, Figure['unit'], Rules?]][]).map(([name, [suffix, unit, rules]]) =>
    figure(
      `${what}${suffix}`,
      unit,
      { name: pair.names[1], values: quantity(many, name) },
      { name: pair.names[0], values: quantity(few, name) },
      rules,
    ),
  );
}

async function measureImports(
  run: Run,
  sizes: Sizes,
): Promise<{ readonly figures: Figure[]; readonly remarks: string[]; readonly site: Site }> {
  run.tell('import');
  const sizeOf = { short: sizes.shortImport, long: sizes.many };
  const csv = (which: 'short' | 'long'): string => join(run.folder, `${which}.csv`);
  for (const which of ['short', 'long'] as const) await new Fleet(sizeOf[which]).writeCsv(csv(which));
  const sites = new Map<string, Site>();
  /** Each round into a new registry; the last one stays. */
  const importInto = async (which: 'short' | 'long', round: number): Promise<Sample<ImportQuantity>> => {
    await sites.get(which)?.remove();
    const site = new Site(join(run.folder, `${which}-${round}`), new Fleet(sizeOf[which]), csv(which));
    sites.set(which, site);
    const taken = await site.fill();
    const bare = await measureBarePuts(site, join(run.folder, `${which}-bare-${round}`));
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
  const { short, long } = await inTurn<'short' | 'long', ImportQuantity>(run.rounds, {
    short: (round) => importInto('short', round),
    long: (round) => importInto('long', round),
  });
  const lines = { short: `${counted(sizeOf.short)} lines`, long: `${counted(sizeOf.long)} lines` };
  const perPut = (what: string, of: 'wallUs' | 'cpuUs', per: 'bareWallUs' | 'bareCpuUs'): Figure =>
    figure(
      what,
      'us',
      { name: lines.long, values: quantity(long, of) },
      { name: 'bare put of its row', values: quantity(long, per) },
    );
  const perShort = (what: string, unit: Figure['unit'], name: ImportQuantity): Figure =>
    figure(what, unit, { name: lines.long, values: quantity(long, name) }, { name: lines.short, values: quantity(short, name) });
  const figures = [
    perPut('import, a line', 'wallUs', 'bareWallUs'),
    perPut('import, a line, CPU time', 'cpuUs', 'bareCpuUs'),
    perShort('import, a line, CPU time', 'us', 'cpuUs'),
    perShort('import, anonymous memory, peak', 'MiB', 'anonymousMiB'),
    perShort('import, resident memory, peak', 'MiB', 'residentMiB'),
  ];
  await sites.get('short')?.remove();
  const site = sites.get('long');
  if (site === undefined) throw new RangeError('at least one round');
  const rate = (figure: Figure | undefined): number => Math.round(1_000_000 / (figure?.of.measured.median ?? Number.NaN));
  const remarks = [
    `The longer import read ${counted(rate(figures[0]))} lines/s, and ${counted(rate(figures[1]))} in a second of CPU time; ` +
      `${counted(LINES_PER_SECOND)} lines/s are wanted where nothing else runs.`,
  ];
  return { figures, remarks, site };
}

type ImportQuantity = 'wallUs' | 'cpuUs' | 'anonymousMiB' | 'residentMiB' | 'bareWallUs' | 'bareCpuUs';

async function measureInProcess(run: Run, sizes: Sizes, pair: Pair): Promise<Figure[]> {
  const open = { few: await InProcess.open(pair.few), many: await InProcess.open(pair.many) };
  const cost = { wallUs: ['', 'us'], cpuUs: [', CPU time', 'us'] } as const;
  const bounded = { wallUs: ['', 'us', MAX_GROWTH], cpuUs: [', CPU time', 'us', MAX_GROWTH] } as const;
  const figures: Figure[] = [];
  try {
    // What comes first pays for compiling.
    for (const one of Object.values(open)) await one.join(sizes.alone, TOGETHER);
    figures.push(...(await compare(run, pair, 'lookup', (of) => open[of].lookUp(sizes.lookUps), cost)));
    figures.push(...(await compare(run, pair, 'commit, 1 in flight', (of) => open[of].commit(sizes.alone, 1), cost)));
    figures.push(...(await compare(run, pair, 'commit, 64 in flight', (of) => open[of].commit(sizes.together, TOGETHER), cost)));
    figures.push(...(await compare(run, pair, 'join, 1 in flight', (of) => open[of].join(sizes.alone, 1), bounded)));
    figures.push(...(await compare(run, pair, 'join, 64 in flight', (of) => open[of].join(sizes.together, TOGETHER), bounded)));
  } finally {
    for (const one of Object.values(open)) await one.close();
  }
  return figures;
}

async function measurePages(run: Run, pair: Pair): Promise<Figure[]> {
  const page = (of: 'few' | 'many', filter: readonly string[]): Promise<Sample<'wallMs'>> =>
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

function measureServers(run: Run, sizes: Sizes, pair: Pair): Promise<Figure[]> {
  return compare(run, pair, 'auth-server run', (of) => measureServer(pair[of], sizes.serverJoins), {
    startMs: [', until it listens', 'ms'],
    anonymousMiB: [', anonymous memory then', 'MiB'],
    residentMiB: [', resident memory then', 'MiB'],
    anonymousAfterMiB: [`, anonymous memory after ${counted(sizes.serverJoins)} joins`, 'MiB'],
    residentAfterMiB: [`, resident memory after ${counted(sizes.serverJoins)} joins`, 'MiB'],
    cpuUsPerJoin: [', CPU time of a join over UDP', 'us', MAX_GROWTH],
  });
}

function counted(n: number): string {
  return n.toLocaleString('en');
}
