import { parentPort } from 'node:worker_threads';
import { added, type Batch, type BatchResult, NOTHING_YET } from './farm.js';
import { mutantNamed } from './mutants/index.js';
import { run } from './world.js';

parentPort?.on('message', ({ from, count, mutant }: Batch) => {
  const rules = mutantNamed(mutant);
  let total = NOTHING_YET;
  for (let seed = from; seed < from + count && total.failed === undefined; seed++) {
    const { events, counts, joinedAfterMs, violation } = run(seed, rules === undefined ? {} : { rules });
    const one: BatchResult = { worlds: 1, events, counts, longestMs: joinedAfterMs, failed: violation && seed };
    total = added(total, one);
  }
  parentPort?.postMessage(total);
});
