/** What the daemons have in memory at rest, with joins coming all the time, and after that. */

import { setTimeout as pause } from 'node:timers/promises';
import { type RatioMetric, ratioMetric, type RatioLimits } from '../ratio.js';
import type { SuiteRun } from '../suite.js';
import type { MeasuredNetwork } from './network.js';
import type { Sizes } from './plans.js';

const IN_FLIGHT = 64;
/**
 * What a daemon may have of its own under load: not the pages of its store, which the system takes
 * back when it wants to.
 */
const MAX_ANONYMOUS_MIB = 150;
/** What is aimed for. */
const TARGET_MIB: Readonly<Record<string, number>> = { controller: 110, 'auth-server': 70 };
/** Looks at it while it lasts. */
const SAMPLE_COUNT = 20;
/** What grows is seen between the first and the last quarter. */
const MAX_GROWTH = 1.1;
/** After the load: transactions live 60 s, V8 collects when it is idle. */
const SETTLE_MS: Readonly<Record<SuiteRun['depth'], number>> = { quick: 500, full: 70_000, long: 70_000 };

/** @param atRest MiB of controller and auth-server before anything was asked of them */
export async function measureMemory(
  run: SuiteRun,
  sizes: Sizes,
  network: MeasuredNetwork,
  atRest: readonly number[],
): Promise<RatioMetric[]> {
  run.report(`memory, ${sizes.sustainedMs / 1000} s of joins`);
  const samples: (readonly number[])[] = [];
  const timer = setInterval(() => samples.push(network.memory()), sizes.sustainedMs / SAMPLE_COUNT);
  await network.play({ kind: 'closed', inFlight: IN_FLIGHT, ms: sizes.sustainedMs });
  clearInterval(timer);
  samples.push(network.memory());
  run.report('memory, afterwards');
  await pause(SETTLE_MS[run.depth]);
  const after = network.memory();
  const quarter = Math.max(1, Math.floor(samples.length / 4));
  return network.daemons.flatMap(({ name }, i) => {
    const underLoad = samples.map((look) => look[i] ?? Number.NaN);
    const highest = Math.max(...underLoad);
    const one = (what: string, value: number, perName: string, per: number, rules: RatioLimits = {}): RatioMetric =>
      ratioMetric(
        `memory of ${name}, ${what}`,
        'MiB',
        { name: 'anonymous', values: [value] },
        { name: perName, values: [per] },
        rules,
      );
    const rest = atRest[i] ?? Number.NaN;
    const bound = TARGET_MIB[name];
    const target = bound === undefined ? {} : { target: { bound } };
    return [
      one('highest under load', highest, 'at rest', rest, { bound: MAX_ANONYMOUS_MIB, ...target }),
      one(
        'at the end of the load',
        mean(underLoad.slice(-quarter)),
        'at its beginning',
        mean(underLoad.slice(0, quarter)),
        run.depth === 'long' ? { limit: MAX_GROWTH } : {},
      ),
      one('after it', after[i] ?? Number.NaN, 'at rest', rest),
    ];
  });
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
