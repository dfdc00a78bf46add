/** `bench enrolment`: what joins take while many nodes are imported or ordered. */

import { join } from 'node:path';
import { formatId } from '@latchkey/protocol';
import { measureCommand } from '../command.js';
import { interleave, type Measurement, quantity } from '../interleave.js';
import { atHalfKnee, type JoinSizes, type NetworkAtHalfKnee } from '../joins/half-knee.js';
import { ratioMetric, type RatioLimits, type RatioMetric } from '../ratio.js';
import { Fleet, ID_C } from '../registry/fleet.js';
import { summarise } from '../statistics.js';
import type { Depth, SuiteResult, SuiteRun } from '../suite.js';

interface Sizes extends JoinSizes {
  /** Nodes that come in addition in each round: more than the joins of a round leave time for. */
  readonly more: number;
}

const FULL: Sizes = { nodes: 20_000, more: 200_000, ms: 8_000, warmUp: 30_000 };
const SIZES: Readonly<Record<Depth, Sizes>> = {
  quick: { nodes: 5_000, more: 50_000, ms: 2_000, warmUp: 8_000 },
  full: FULL,
  long: { ...FULL, more: 1_000_000, ms: 30_000 },
};
/** Limit of the issue that asked for it. */
const MAX_P99 = { target: { limit: 2 } } as const;

const WORK = ['import', 'order create'] as const;
type Work = (typeof WORK)[number];
type Quantity = 'p50' | 'p99' | 'perSecond';

export async function enrolmentSuite(run: SuiteRun): Promise<SuiteResult> {
  const sizes = SIZES[run.depth];
  return atHalfKnee(run, sizes, (at) => measure(run, sizes, at));
}

async function measure(
  run: SuiteRun,
  sizes: Sizes,
  { network, registry, perSecond, plan }: NetworkAtHalfKnee,
): Promise<SuiteResult> {
  const begin: Readonly<Record<Work, (round: number) => Promise<readonly string[]>>> = {
    import: async (round) => {
      const csv = join(run.folder, `more-${round}.csv`);
      const first = sizes.nodes + round * sizes.more;
      await new Fleet(first + sizes.more).writeCsv(csv, first);
      return ['import', '--data', registry, csv];
    },
    'order create': async (round) => {
      const order = ['--installer', 'bench', '--controller', formatId(ID_C), '--count', String(sizes.more)];
      return ['order', 'create', '--data', registry, ...order, '--out', join(run.folder, `order-${round}`)];
    },
  };
  const joins = async (): Promise<Measurement<'p50' | 'p99'>> => {
    const { result } = await network.play(plan);
    return { p50: result.p50, p99: result.p99 };
  };
  const beside =
    (work: Work) =>
    async (round: number): Promise<Measurement<Quantity>> => {
      const words = await begin[work](round);
      const [taken, measured] = await Promise.all([measureCommand(words), joins()]);
      return { ...measured, perSecond: (1_000 * sizes.more) / taken.wallMs };
    };
  run.report('beside joins');
  const rounds = await interleave<Work | 'alone', Quantity>(run.rounds, {
    alone: async () => ({ ...(await joins()), perSecond: 0 }),
    import: beside('import'),
    'order create': beside('order create'),
  });
  const figure = (work: Work, of: 'p50' | 'p99', rules: RatioLimits = {}): RatioMetric =>
    ratioMetric(
      `${perSecond.toLocaleString('en')} joins/s: ${of}`,
      'ms',
      { name: `beside \`${work}\``, values: quantity(rounds[work], of) },
      { name: 'without', values: quantity(rounds.alone, of) },
      rules,
    );
  const rateOf = (work: Work): string => Math.round(summarise(quantity(rounds[work], 'perSecond')).median).toLocaleString('en');
  return {
    figures: WORK.flatMap((work) => [figure(work, 'p50'), figure(work, 'p99', MAX_P99)]),
    remarks: [
      `Joins come at half the rate of the knee. Beside them, and after them, \`import\` took in ${rateOf('import')} nodes a second, and \`order create\` ${rateOf('order create')}, of ${sizes.more.toLocaleString('en')} each time.`,
    ],
  };
}
