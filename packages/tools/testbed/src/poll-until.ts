import { setTimeout as pause } from 'node:timers/promises';

/** Between two queries, in ms: without a pause the test and the daemon would each fill a core. */
const POLL_INTERVAL_MS = 50;

/** Repeats the query until its answer is as wanted; rejects after `timeoutMs`. */
export async function pollUntil<T>(query: () => T | Promise<T>, wanted: (answer: T) => boolean, timeoutMs = 180_000): Promise<T> {
  const end = performance.now() + timeoutMs;
  for (;;) {
    const answer = await query();
    if (wanted(answer)) return answer;
    if (performance.now() > end) throw new Error(`it stays at ${JSON.stringify(answer)}`);
    await pause(POLL_INTERVAL_MS);
  }
}
