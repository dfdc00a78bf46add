/** Power comes back: all nodes begin at once. */

import { Failure } from '@latchkey/runtime';
import { type Figure, figure } from '../figure.js';
import type { Run } from '../suite.js';
import { inTurn, quantity, type Sample } from '../turns.js';
import type { Network } from './network.js';
import type { Sizes } from './plans.js';

type Quantity = 'seconds' | 'datagrams' | 'octets' | 'failed';

/** Until each has its key; attempts that fail are made again after a node's own back-off. */
export async function measureStorm(run: Run, sizes: Sizes, relayed: Network, coap: Network): Promise<Figure[]> {
  const what = `storm of ${sizes.storm.toLocaleString('en')}`;
  run.tell(what);
  const storm = async (network: Network): Promise<Sample<Quantity>> => {
    const { played } = await network.play({ kind: 'storm', joins: sizes.storm });
    const { joins, failed, ms, datagrams, octets } = played;
    if (joins !== sizes.storm) throw new Failure(`${joins} of ${sizes.storm} nodes got their key in a storm`);
    return { seconds: ms, datagrams: datagrams / joins, octets: octets / joins, failed };
  };
  const rounds = await inTurn<'relayed' | 'coap', Quantity>(sizes.stormRounds, {
    relayed: () => storm(relayed),
    coap: () => storm(coap),
  });
  const [of, per] = ['Latchkey', '`coap` alone'];
  const compared = (suffix: string, unit: Figure['unit'], name: Quantity): Figure =>
    figure(
      `${what}: ${suffix}`,
      unit,
      { name: of, values: quantity(rounds.relayed, name) },
      { name: per, values: quantity(rounds.coap, name) },
    );
  const attempts = quantity(rounds.relayed, 'failed').map((failed) => failed + sizes.storm);
  return [
    compared('until all have their key', 'ms', 'seconds'),
    compared("datagrams of a join on the node's side", 'n', 'datagrams'),
    compared("octets of a join on the node's side", 'octets', 'octets'),
    figure(
      `${what}: attempts that failed`,
      'n',
      { name: of, values: quantity(rounds.relayed, 'failed') },
      { name: 'attempts', values: attempts },
      { bound: 0 },
    ),
  ];
}
