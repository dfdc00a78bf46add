/** `bench readers`: what joins cost while people look at the registry through the API. */

import { interleave, type Measurement, quantity } from '../interleave.js';
import { atHalfKnee, type JoinSizes, type NetworkAtHalfKnee } from '../joins/half-knee.js';
import type { PlanResult } from '../joins/network.js';
import { ratioMetric, type RatioLimits, type RatioMetric, type Unit } from '../ratio.js';
import { summarise } from '../statistics.js';
import type { Depth, SuiteResult, SuiteRun } from '../suite.js';
import { ApiReaders } from './api-readers.js';

export interface Sizes extends JoinSizes {
  readonly readers: number;
}

const FULL: Sizes = { nodes: 20_000, readers: 20, ms: 10_000, warmUp: 30_000 };
const SIZES: Readonly<Record<Depth, Sizes>> = {
  quick: { nodes: 5_000, readers: 20, ms: 2_000, warmUp: 8_000 },
  full: FULL,
  long: { ...FULL, ms: 60_000 },
};
const TARGETS = { cpu: 1.05, p99: 1.3 } as const;

type Quantity = 'cpuUs' | 'p50' | 'p99' | 'apiShare';

export async function readersSuite(run: SuiteRun, sizes: Sizes = SIZES[run.depth]): Promise<SuiteResult> {
  return atHalfKnee(run, sizes, async (at) => {
    const readers = await ApiReaders.start(run.folder, at.registry, sizes.readers);
    try {
      return await measure(run, sizes, at, readers);
    } finally {
      await readers.stop();
    }
  });
}

async function measure(
  run: SuiteRun,
  sizes: Sizes,
  { network, perSecond, plan }: NetworkAtHalfKnee,
  readers: ApiReaders,
): Promise<SuiteResult> {
  let [pages, events] = [0, 0];
  const apiShareOf = async (work: () => Promise<PlanResult>): Promise<Measurement<Quantity>> => {
    const [before, since] = [readers.daemon.resources().cpuMs, performance.now()];
    const { result, controllerCpuMs, serverCpuMs } = await work();
    const apiShare = (readers.daemon.resources().cpuMs - before) / (performance.now() - since);
    const cpuUs = (1_000 * (controllerCpuMs + serverCpuMs)) / result.joins;
    return { cpuUs, p50: result.p50, p99: result.p99, apiShare };
  };
  // The index is made at the first list, and kept from then on.
  await readers.during(() => network.play({ ...plan, ms: 2_000 }));
  run.report('with readers and without');
  const rounds = await interleave<'alone' | 'read', Quantity>(run.rounds, {
    alone: () => apiShareOf(() => network.play(plan)),
    read: () =>
      apiShareOf(async () => {
        const seen = await readers.during(() => network.play(plan));
        pages += seen.pages;
        events += seen.events;
        return seen.result;
      }),
  });
  const figure = (what: string, unit: Unit, of: Quantity, rules: RatioLimits = {}): RatioMetric =>
    ratioMetric(
      `${perSecond.toLocaleString('en')} joins/s: ${what}`,
      unit,
      { name: `beside ${sizes.readers} readers`, values: quantity(rounds.read, of) },
      { name: 'without', values: quantity(rounds.alone, of) },
      rules,
    );
  const share = summarise(quantity(rounds.read, 'apiShare')).median;
  const seconds = (run.rounds * sizes.ms) / 1_000;
  return {
    figures: [
      figure('CPU time of a join', 'us', 'cpuUs', { target: { limit: TARGETS.cpu } }),
      figure('p50', 'ms', 'p50'),
      figure('p99', 'ms', 'p99', { target: { limit: TARGETS.p99 } }),
    ],
    remarks: [
      `Joins come at half the rate of the knee. ${sizes.readers} readers got ${(pages / seconds).toFixed(0)} pages of 100 nodes a second and as many streams ${(events / seconds).toFixed(0)} events; the API's process took ${Math.round(100 * share)} % of a core for them.`,
    ],
  };
}
