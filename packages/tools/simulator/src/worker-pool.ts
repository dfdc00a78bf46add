/** Many worlds on all cores. */

import { Worker } from 'node:worker_threads';
import type { WorldKind, WorldResult } from './run.js';

/** Worlds that a worker runs before it tells of them. */
const WORLDS_PER_BATCH = 25;
/**
 * What a world leaves behind is dead with it: in a larger young generation little of it is ever
 * copied.
 */
const YOUNG_GENERATION_MB = 64;

export interface SeedBatch {
  readonly from: number;
  readonly count: number;
  readonly mutant: string | undefined;
  readonly worlds: WorldKind | undefined;
}

/** What came of a batch. */
export interface BatchResult {
  readonly worlds: number;
  readonly events: number;
  readonly counts: WorldResult['counts'];
  readonly longestMs: number;
  /** The first seed that failed. */
  readonly failed: number | undefined;
}

export interface RunSeedsOptions {
  readonly from: number;
  /** How many worlds at least. */
  readonly seeds: number;
  /** Until when more are run after those, by `now`. */
  readonly until: number;
  readonly now: () => number;
  readonly workers: number;
  readonly mutant: string | undefined;
  readonly worlds: WorldKind | undefined;
  /** Told after each batch. */
  readonly progress: (total: BatchResult) => void;
}

export const EMPTY_RESULT: BatchResult = {
  worlds: 0,
  events: 0,
  counts: {
    commits: 0,
    joins: 0,
    promotions: 0,
    replaced: 0,
    waits: 0,
    conflicts: 0,
    expired: 0,
    resets: 0,
    heldOff: 0,
    relayed: 0,
    switched: 0,
    dishonest: 0,
  },
  longestMs: 0,
  failed: undefined,
};

export function mergeResults(a: BatchResult, b: BatchResult): BatchResult {
  const names = Object.keys(a.counts) as (keyof BatchResult['counts'])[];
  return {
    worlds: a.worlds + b.worlds,
    events: a.events + b.events,
    counts: Object.fromEntries(names.map((name) => [name, a.counts[name] + b.counts[name]])) as BatchResult['counts'],
    longestMs: Math.max(a.longestMs, b.longestMs),
    failed: a.failed === undefined || b.failed === undefined ? (a.failed ?? b.failed) : Math.min(a.failed, b.failed),
  };
}

/** Runs worlds until all are done, or one has failed. */
export async function runSeeds(options: RunSeedsOptions): Promise<BatchResult> {
  const { from, seeds, until, now, mutant, worlds, progress } = options;
  let total = EMPTY_RESULT;
  let next = from;
  const nextBatch = (): SeedBatch | undefined => {
    const left = from + seeds - next;
    if (total.failed !== undefined || (left <= 0 && now() >= until)) return undefined;
    const count = left > 0 ? Math.min(WORLDS_PER_BATCH, left) : WORLDS_PER_BATCH;
    next += count;
    return { from: next - count, count, mutant, worlds };
  };
  const work = async (): Promise<void> => {
    const worker = new Worker(new URL('./worker.js', import.meta.url), {
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    try {
      for (let batch = nextBatch(); batch !== undefined; batch = nextBatch()) {
        const result = await runBatch(worker, batch);
        total = mergeResults(total, result);
        progress(total);
      }
    } finally {
      await worker.terminate();
    }
  };
  await Promise.all(Array.from({ length: options.workers }, work));
  return total;
}

function runBatch(worker: Worker, batch: SeedBatch): Promise<BatchResult> {
  return new Promise((resolve, reject) => {
    worker.once('message', (result: BatchResult) => {
      worker.off('error', reject);
      resolve(result);
    });
    worker.once('error', reject);
    worker.postMessage(batch);
  });
}
