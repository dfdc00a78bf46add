import { parentPort } from 'node:worker_threads';
import { mergeResults, type SeedBatch, type BatchResult, EMPTY_RESULT } from './worker-pool.js';
import { mutantNamed } from './mutants/index.js';
import { run } from './run.js';

parentPort?.on('message', (batch: SeedBatch) => void simulate(batch));

async function simulate({ from, count, mutant, worlds }: SeedBatch): Promise<void> {
  const rules = mutantNamed(mutant);
  let total = EMPTY_RESULT;
  for (let seed = from; seed < from + count && total.failed === undefined; seed++) {
    const { events, counts, joinedAfterMs, violation } = await run(seed, { worlds, ...(rules === undefined ? {} : { rules }) });
    const one: BatchResult = { worlds: 1, events, counts, longestMs: joinedAfterMs, failed: violation && seed };
    total = mergeResults(total, one);
  }
  parentPort?.postMessage(total);
}
