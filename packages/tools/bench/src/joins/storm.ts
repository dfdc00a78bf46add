/** Power comes back: all nodes begin at once. */

import { Failure } from '@latchkey/runtime/failure';
import { type RatioLimits, type RatioMetric, ratioMetric } from '../ratio.js';
import type { SuiteRun } from '../suite.js';
import { interleave, quantity, type Measurement } from '../interleave.js';
import type { MeasuredNetwork } from './network.js';
import type { Sizes } from './plans.js';

/** What is aimed for. A join without loss takes 4 datagrams. */
const TARGETS = { ofCoap: 1.15, datagrams: 4.5 } as const;

type Quantity = 'seconds' | 'datagrams' | 'octets' | 'failed';

/** Until each has its key; attempts that fail are made again after a node's own back-off. */
export async function measureStorm(
  run: SuiteRun,
  sizes: Sizes,
  relayed: MeasuredNetwork,
  coap: MeasuredNetwork,
): Promise<RatioMetric[]> {
  const what = `storm of ${sizes.storm.toLocaleString('en')}`;
  run.report(what);
  const storm = async (network: MeasuredNetwork): Promise<Measurement<Quantity>> => {
    const { result } = await network.play({ kind: 'storm', joins: sizes.storm });
    const { joins, failed, ms, datagrams, octets } = result;
    if (joins !== sizes.storm) throw new Failure(`${joins} of ${sizes.storm} nodes got their key in a storm`);
    return { seconds: ms, datagrams: datagrams / joins, octets: octets / joins, failed };
  };
  const rounds = await interleave<'relayed' | 'coap', Quantity>(sizes.stormRounds, {
    relayed: () => storm(relayed),
    coap: () => storm(coap),
  });
  const [of, per] = ['Latchkey', '`coap` alone'];
  const compared = (suffix: string, unit: RatioMetric['unit'], name: Quantity, rules: RatioLimits = {}): RatioMetric =>
    ratioMetric(
      `${what}: ${suffix}`,
      unit,
      { name: of, values: quantity(rounds.relayed, name) },
      { name: per, values: quantity(rounds.coap, name) },
      rules,
    );
  const attempts = quantity(rounds.relayed, 'failed').map((failed) => failed + sizes.storm);
  return [
    compared('until all have their key', 'ms', 'seconds', { target: { limit: TARGETS.ofCoap } }),
    compared("datagrams of a join on the node's side", 'n', 'datagrams', { target: { bound: TARGETS.datagrams } }),
    compared("octets of a join on the node's side", 'octets', 'octets'),
    ratioMetric(
      `${what}: attempts that failed`,
      'n',
      { name: of, values: quantity(rounds.relayed, 'failed') },
      { name: 'attempts', values: attempts },
      { bound: 0 },
    ),
  ];
}
