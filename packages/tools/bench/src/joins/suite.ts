/**
 * `bench joins`: whole joins through real processes, and beside them the same hops with less and
 * less in them.
 */

import { join } from 'node:path';
import { type RatioMetric, ratioMetric, type RatioLimits, type Side, type Unit } from '../ratio.js';
import { measureWrites } from '../baselines/durable-writes.js';
import { measureProtocol } from '../baselines/protocol.js';
import type { LoadProfile } from '../load/load-profile.js';
import { knee, type Point, type Series } from '../series.js';
import { summarise } from '../statistics.js';
import type { SuiteResult, SuiteRun } from '../suite.js';
import { interleave, quantity, type Rounds, type Measurement } from '../interleave.js';
import { measureMemory } from './memory.js';
import { MeasuredNetwork, type NetworkName, NETWORKS, type PlanResult } from './network.js';
import { type Sizes, sizesOf } from './plans.js';
import { measureStorm } from './storm.js';

/** What must hold. */
const LIMITS = { p99PerMedian: 4, passThrough: 1.15 } as const;
/** What is aimed for (docs/PERFORMANCE.md). */
const TARGETS = { rateOfCoap: 0.6, p99PerMedian: 2.5, openP99OfCoap: 3 } as const;
/** The rate of the open loop that has a target, joins/s. */
const TARGET_RATE = 1_000;

const NAMES: Readonly<Record<NetworkName, string>> = {
  relayed: 'Latchkey',
  passThrough: 'Latchkey pass-through',
  combined: 'Latchkey combined',
  coap: '`coap` alone',
  dgram: 'bare dgram',
};

/** With so many in flight most figures are taken. */
const DEFAULT_IN_FLIGHT = 64;

type Quantity = 'perSecond' | 'p50' | 'p99' | 'p999' | 'cpuUs' | 'controllerUs' | 'serverUs' | 'datagrams' | 'failed' | 'share';

export async function joinsSuite(run: SuiteRun, sizes: Sizes = sizesOf(run.depth)): Promise<SuiteResult> {
  const networks = new Map<NetworkName, MeasuredNetwork>();
  try {
    for (const name of NETWORKS) {
      run.report(`starting ${NAMES[name]}`);
      networks.set(name, await MeasuredNetwork.start(name, join(run.folder, name), sizes.nodes));
    }
    const all = [...networks.values()];
    const atRest = all.map((network) => network.memory());
    run.report('warming up');
    for (const network of all)
      await network.play({ kind: 'closed', inFlight: DEFAULT_IN_FLIGHT, ms: 60_000, joins: sizes.warmUp });
    return await measure(run, sizes, networks, atRest[0] ?? []);
  } finally {
    for (const network of networks.values()) await network.stop();
  }
}

async function measure(
  run: SuiteRun,
  sizes: Sizes,
  networks: ReadonlyMap<NetworkName, MeasuredNetwork>,
  atRest: readonly number[],
): Promise<SuiteResult> {
  const figures: RatioMetric[] = [];
  const shares: number[] = [];
  const remarks: string[] = [];
  for (const inFlight of sizes.inFlight) {
    const what = `${inFlight.toLocaleString('en')} in flight`;
    const isDefault = inFlight === DEFAULT_IN_FLIGHT;
    const names = isDefault ? NETWORKS : NETWORKS.filter((name) => name !== 'passThrough');
    const rounds = await measureAll(run, networks, what, { kind: 'closed', inFlight, ms: sizes.ms }, names);
    shares.push(...quantity(rounds.relayed, 'share'));
    figures.push(...closedFigures(what, rounds, isDefault));
    if (isDefault) {
      figures.push(...passThroughFigures(what, rounds));
      figures.push(...(await writeFigures(run, sizes, rounds)));
      const alone = protocolFigure(run, sizes, rounds);
      figures.push(alone);
      remarks.push(
        `With nothing on top of \`coap\` but what the protocol computes, joins/s could be ${(1 / (1 + alone.ratio.median)).toFixed(2)} times \`coap\` alone.`,
      );
    }
  }
  for (const perSecond of sizes.rates) {
    const what = `open loop, ${perSecond.toLocaleString('en')}/s`;
    const rounds = await measureAll(run, networks, what, { kind: 'open', perSecond, ms: sizes.ms }, ['relayed', 'coap']);
    for (const part of ['p50', 'p99', 'p999'] as const) {
      const rules = part === 'p99' && perSecond === TARGET_RATE ? { target: { limit: TARGETS.openP99OfCoap } } : {};
      figures.push(compare(`${what}: ${part}`, 'ms', part, rounds, 'coap', rules));
    }
  }
  const relayed = networks.get('relayed');
  const coap = networks.get('coap');
  if (relayed === undefined || coap === undefined) throw new RangeError('no networks');
  const { series, kneeFigures } = await measureSweep(run, sizes, [relayed, coap]);
  figures.push(...kneeFigures);
  figures.push(...(await measureStorm(run, sizes, relayed, coap)));
  figures.push(...(await measureMemory(run, sizes, relayed, atRest)));
  const share = summarise(shares);
  const percent = (part: number): string => `${Math.round(part * 100)} %`;
  return {
    figures,
    remarks: [
      ...remarks,
      `The load generator took ${percent(share.median)} (${percent(share.low)} to ${percent(share.high)}) of all CPU time, and less than a core: it is not what is measured.`,
    ],
    series,
  };
}

async function measureAll(
  run: SuiteRun,
  networks: ReadonlyMap<NetworkName, MeasuredNetwork>,
  what: string,
  plan: LoadProfile,
  names: readonly NetworkName[] = NETWORKS,
): Promise<Rounds<NetworkName, Quantity>> {
  run.report(what);
  const contenders = names.flatMap((name) => {
    const network = networks.get(name);
    return network === undefined ? [] : [[name, async () => sampleOf(await network.play(plan))] as const];
  });
  const measured = await interleave<NetworkName, Quantity>(
    run.rounds,
    Object.fromEntries(contenders) as Record<NetworkName, () => Promise<Measurement<Quantity>>>,
  );
  return measured;
}

function sampleOf({ result, controllerCpuMs, serverCpuMs }: PlanResult): Measurement<Quantity> {
  const { perSecond, p50, p99, p999, joins, datagrams, failed, cpuMs } = result;
  const perJoin = 1000 / joins;
  return {
    perSecond,
    p50,
    p99,
    p999,
    cpuUs: (controllerCpuMs + serverCpuMs) * perJoin,
    controllerUs: controllerCpuMs * perJoin,
    serverUs: serverCpuMs * perJoin,
    datagrams: datagrams / joins,
    failed,
    share: cpuMs / (cpuMs + controllerCpuMs + serverCpuMs),
  };
}

type Measured = Rounds<NetworkName, Quantity>;

function side(rounds: Measured, name: NetworkName, what: Quantity): Side {
  return { name: NAMES[name], values: quantity(rounds[name], what) };
}

/** Latchkey, relayed, per another. */
function compare(
  what: string,
  unit: Unit,
  of: Quantity,
  rounds: Measured,
  per: NetworkName,
  rules: RatioLimits = {},
): RatioMetric {
  return ratioMetric(what, unit, side(rounds, 'relayed', of), side(rounds, per, of), rules);
}

function closedFigures(what: string, rounds: Measured, usual: boolean): RatioMetric[] {
  const wanted = usual ? { target: { limit: TARGETS.rateOfCoap } } : {};
  const latencies = (['p50', 'p99', 'p999'] as const).map((part) => compare(`${what}: ${part}`, 'ms', part, rounds, 'coap'));
  const rate = compare(`${what}: joins/s`, '1/s', 'perSecond', rounds, 'coap', { better: 'higher', ...wanted });
  if (!usual) return [rate, ...latencies];
  const median = { name: 'its median', values: quantity(rounds.relayed, 'p50') };
  return [
    rate,
    compare(`${what}: joins/s`, '1/s', 'perSecond', rounds, 'combined', { better: 'higher' }),
    compare(`${what}: joins/s`, '1/s', 'perSecond', rounds, 'dgram', { better: 'higher' }),
    ratioMetric(`${what}: joins/s`, '1/s', side(rounds, 'coap', 'perSecond'), side(rounds, 'dgram', 'perSecond'), {
      better: 'higher',
    }),
    ...latencies,
    ratioMetric(`${what}: p99`, 'ms', side(rounds, 'relayed', 'p99'), median, {
      limit: LIMITS.p99PerMedian,
      target: { limit: TARGETS.p99PerMedian },
    }),
    compare(`${what}: CPU time of a join`, 'us', 'cpuUs', rounds, 'coap', { stable: true }),
    compare(`${what}: CPU time of a join`, 'us', 'cpuUs', rounds, 'combined', { stable: true }),
    compare(`${what}: CPU time of a join, controller`, 'us', 'controllerUs', rounds, 'coap', { stable: true }),
    compare(`${what}: CPU time of a join, auth-server`, 'us', 'serverUs', rounds, 'coap', { stable: true }),
    ratioMetric(`${what}: CPU time of four round trips`, 'us', side(rounds, 'coap', 'cpuUs'), side(rounds, 'dgram', 'cpuUs')),
    compare(`${what}: datagrams of a join on the node's side`, 'n', 'datagrams', rounds, 'coap'),
  ];
}

/** What a controller that gets no keys costs, together and at either end. */
function passThroughFigures(what: string, rounds: Measured): RatioMetric[] {
  const compared = (words: string, of: Quantity, rules: RatioLimits = {}): RatioMetric =>
    ratioMetric(`${what}: ${words}`, 'us', side(rounds, 'passThrough', of), side(rounds, 'relayed', of), rules);
  return [
    compared('CPU time of a join', 'cpuUs', { limit: LIMITS.passThrough, stable: true }),
    compared('CPU time of a join, controller', 'controllerUs', { stable: true }),
    compared('CPU time of a join, auth-server', 'serverUs', { stable: true }),
  ];
}

/** A join's time with so many in flight per durable write with as many in flight. */
async function writeFigures(run: SuiteRun, sizes: Sizes, rounds: Measured): Promise<RatioMetric[]> {
  run.report('durable writes of the store alone');
  const writes: Measurement<'wallUs' | 'cpuUs'>[] = [];
  for (let round = 0; round < run.rounds; round++)
    writes.push(await measureWrites(join(run.folder, `writes-${round}`), sizes.writes, DEFAULT_IN_FLIGHT));
  const perJoin = quantity(rounds.relayed, 'perSecond').map((rate) => 1e6 / rate);
  const per = (name: 'wallUs' | 'cpuUs'): Side => ({ name: 'durable write of the store alone', values: quantity(writes, name) });
  return [
    ratioMetric(
      `${DEFAULT_IN_FLIGHT} in flight: time for each join`,
      'us',
      { name: NAMES.relayed, values: perJoin },
      per('wallUs'),
    ),
    ratioMetric(
      `${DEFAULT_IN_FLIGHT} in flight: CPU time of a join, auth-server`,
      'us',
      side(rounds, 'relayed', 'serverUs'),
      per('cpuUs'),
    ),
  ];
}

/**
 * What is left for all else: no server that does what the protocol asks is nearer to `coap` alone.
 */
function protocolFigure(run: SuiteRun, sizes: Sizes, rounds: Measured): RatioMetric {
  run.report('the protocol alone');
  const values = Array.from({ length: run.rounds }, () => measureProtocol(sizes.computed).cpuUs);
  const of = { name: 'the protocol alone', values };
  return ratioMetric(`${DEFAULT_IN_FLIGHT} in flight: CPU time of a join`, 'us', of, side(rounds, 'coap', 'cpuUs'));
}

/** More and more in flight: the knee of each, and what the plot is drawn from. */
async function measureSweep(
  run: SuiteRun,
  sizes: Sizes,
  networks: readonly MeasuredNetwork[],
): Promise<{ readonly series: Series[]; readonly kneeFigures: RatioMetric[] }> {
  if (sizes.sweep.length === 0) return { series: [], kneeFigures: [] };
  const swept = new Map<MeasuredNetwork, Point[][]>(networks.map((network) => [network, []]));
  for (let round = 0; round < run.rounds; round++) {
    for (const network of round % 2 === 0 ? networks : networks.toReversed()) {
      run.report(`the knee of ${NAMES[network.name]}`);
      const points: Point[] = [];
      for (const inFlight of sizes.sweep) {
        const { result } = await network.play({ kind: 'closed', inFlight, ms: sizes.ms / 5 });
        const { perSecond, p50, p99 } = result;
        points.push({ perSecond, p50, p99, load: `${inFlight} in flight` });
      }
      swept.get(network)?.push(points);
    }
  }
  const [relayed, coap] = networks.map((network) =>
    (swept.get(network) ?? []).map((points) => knee(points)?.perSecond ?? Number.NaN),
  );
  const series = networks.map((network) => ({ name: NAMES[network.name], points: medians(swept.get(network) ?? []) }));
  const of = { name: NAMES.relayed, values: relayed ?? [] };
  const per = { name: NAMES.coap, values: coap ?? [] };
  return {
    series,
    kneeFigures: [ratioMetric('at the knee: joins/s', '1/s', of, per, { better: 'higher' })],
  };
}

/** Point by point, over the rounds. */
function medians(rounds: readonly (readonly Point[])[]): Point[] {
  const [first = []] = rounds;
  const median = (i: number, what: 'perSecond' | 'p50' | 'p99'): number =>
    summarise(rounds.map((points) => points[i]?.[what] ?? Number.NaN)).median;
  return first.map(({ load }, i) => ({ perSecond: median(i, 'perSecond'), p50: median(i, 'p50'), p99: median(i, 'p99'), load }));
}
