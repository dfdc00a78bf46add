/** What the daemons have in memory at rest, with joins coming all the time, and after that. */

import { setTimeout as pause } from 'node:timers/promises';
import { type Figure, figure, type Rules } from '../figure.js';
import type { Run } from '../suite.js';
import type { Network } from './network.js';
import type { Sizes } from './plans.js';

const IN_FLIGHT = 64;
/** What a daemon may have of its own under load: not the pages of its store, which the system takes back when it wants to. */
const MOST_MIB = 150;
/** Looks at it while it lasts. */
const LOOKS = 20;
/** What grows is seen between the first and the last quarter. */
const FLAT = 1.1;
/** After the load: transactions live 60 s, V8 collects when it is idle. */
const CALM_MS: Readonly<Record<Run['extent'], number>> = { quick: 500, full: 70_000, long: 70_000 };

/** @param atRest MiB of controller and auth-server before anything was asked of them */
export async function measureMemory(run: Run, sizes: Sizes, network: Network, atRest: readonly number[]): Promise<Figure[]> {
  run.tell(`memory, ${sizes.sustainedMs / 1000} s of joins`);
  const looks: (readonly number[])[] = [];
  const timer = setInterval(() => looks.push(network.memory()), sizes.sustainedMs / LOOKS);
  await network.play({ kind: 'closed', inFlight: IN_FLIGHT, ms: sizes.sustainedMs });
  clearInterval(timer);
  looks.push(network.memory());
  run.tell('memory, afterwards');
  await pause(CALM_MS[run.extent]);
  const after = network.memory();
  const quarter = Math.max(1, Math.floor(looks.length / 4));
  return network.daemons.flatMap(({ name }, i) => {
    const under = looks.map((look) => look[i] ?? Number.NaN);
    const highest = Math.max(...under);
    const one = (what: string, value: number, perName: string, per: number, rules: Rules = {}): Figure =>
      figure(
        `memory of ${name}, ${what}`,
        'MiB',
        { name: 'anonymous', values: [value] },
        { name: perName, values: [per] },
        rules,
      );
    const rest = atRest[i] ?? Number.NaN;
    return [
      one('highest under load', highest, 'at rest', rest, { bound: MOST_MIB }),
      one(
        'at the end of the load',
        mean(under.slice(-quarter)),
        'at its beginning',
        mean(under.slice(0, quarter)),
        run.extent === 'long' ? { limit: FLAT } : {},
      ),
      one('after it', after[i] ?? Number.NaN, 'at rest', rest),
    ];
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
