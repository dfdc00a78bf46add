/**
 * Runs inside a daemon under test (`node --import`), and nowhere else: how long its event loop was
 * held up, and what it has in memory. It writes a JSON file every half second; SIGUSR2 clears up,
 * measures what is left and begins anew.
 *
 * A tick that comes late may be the daemon's doing or the machine's, which had something else to
 * run. Both are told: `late`, by the clock, and `busy`, the processor time that the process used
 * meanwhile if that is less.
 */

import { renameSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';

/** What the monitor tells. Times in ms, sizes in octets. */
export interface MonitorReport {
  /** How often it was asked to begin anew. */
  readonly round: number;
  readonly late: number;
  readonly busy: number;
  readonly rss: number;
  readonly highestRss: number;
  /** Alive after a collection at the beginning of this round. */
  readonly alive: number;
}

const TICK_MS = 10;
const WRITE_INTERVAL_MS = 500;
/**
 * For V8's other threads to give back the pages that a collection has emptied: read sooner, what is
 * resident was up to a tenth more by chance.
 */
const HEAP_SETTLE_MS = 2_000;

const path = process.env['LATCHKEY_SOAK_MONITOR'];
if (path !== undefined) monitor(path);

function monitor(file: string): void {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  let state = { round: 0, late: 0, busy: 0, highestRss: 0, alive: 0 };
  let before = { at: performance.now(), cpu: process.cpuUsage() };

  const tick = (): void => {
    const { user, system } = process.cpuUsage(before.cpu);
    const now = performance.now();
    const late = now - before.at - TICK_MS;
    state.late = Math.max(state.late, late);
    state.busy = Math.max(state.busy, Math.min(late, (user + system) / 1_000));
    before = { at: now, cpu: process.cpuUsage() };
  };
  const write = (): void => {
    const rss = process.memoryUsage.rss();
    state.highestRss = Math.max(state.highestRss, rss);
    writeFileSync(`${file}.new`, JSON.stringify({ ...state, rss }));
    renameSync(`${file}.new`, file);
  };
  setInterval(tick, TICK_MS).unref();
  setInterval(write, WRITE_INTERVAL_MS).unref();
  process.on('SIGUSR2', () => {
    collect();
    collect();
    const { heapUsed, external } = process.memoryUsage();
    setTimeout(() => {
      state = { round: state.round + 1, late: 0, busy: 0, highestRss: 0, alive: heapUsed + external };
      before = { at: performance.now(), cpu: process.cpuUsage() };
      write();
    }, HEAP_SETTLE_MS).unref();
  });
}
