// Proves that what a daemon may have is told of when it has more, that V8 lets little garbage lie
// before that, makes no objects in the old space for having seen others live long, and collects
// young garbage by one thread.

import { spawnSync } from 'node:child_process';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { limitMemory } from '../src/daemon/memory.js';
import { CapturedLog } from '@latchkey/test-support/fixtures';

/**
 * Fills what lives on from one place in the code, then makes 2,000,000 of its like that do not;
 * prints MB by which the old space grew meanwhile.
 */
const STORM = `
  import { setImmediate as turn } from 'node:timers/promises';
  import { getHeapSpaceStatistics } from 'node:v8';
  import { limitMemory } from ${JSON.stringify(new URL('../dist/daemon/index.js', import.meta.url).href)};
  if (process.argv[1] === 'watched') limitMemory(100_000, undefined);
  const oldSpace = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space').space_used_size;
  const make = (i) => ({ a: i, b: [i, { c: i }] });
  const kept = [];
  for (let round = 0; round < 20; round++, await turn()) for (let i = 0; i < 50_000; i++) kept.push(make(i));
  const before = oldSpace();
  let highest = before;
  for (let round = 0; round < 40; round++, await turn()) {
    for (let i = 0; i < 50_000; i++) globalThis.last = make(i);
    highest = Math.max(highest, oldSpace());
  }
  console.log((highest - before) / 1e6);
  process.exit(0);
`;

/**
 * Makes garbage of which some lives on. V8 prints a line for each collection of young garbage, and
 * one for each thread that takes part in it.
 */
const YOUNG_GARBAGE = `
  import { setFlagsFromString } from 'node:v8';
  import { limitMemory } from ${JSON.stringify(new URL('../dist/daemon/index.js', import.meta.url).href)};
  if (process.argv[1] === 'watched') limitMemory(100_000, undefined);
  setFlagsFromString('--trace-gc --trace-parallel-scavenge');
  let kept = [];
  for (let i = 0; i < 3_000_000; i++) {
    const one = { a: i, b: [i] };
    if (i % 20 === 0) kept.push(one);
    if (kept.length > 20_000) kept = [];
  }
  process.exit(0);
`;

/**
 * Keeps 200,000 objects and replaces them again and again, so that the old space fills with
 * garbage. V8 goes by a setting from the collection after it on: it has made two since memory was
 * measured. Then replaces each object ten times. Prints how large the old space grew meanwhile, as
 * a multiple of what is alive. The process has more than 80 MiB at any time.
 */
const OLD_GARBAGE = `
  import { setImmediate as turn } from 'node:timers/promises';
  import { getHeapSpaceStatistics, setFlagsFromString } from 'node:v8';
  import { runInNewContext } from 'node:vm';
  import { limitMemory } from ${JSON.stringify(new URL('../dist/daemon/index.js', import.meta.url).href)};
  const oldSpace = () => getHeapSpaceStatistics().find(({ space_name }) => space_name === 'old_space').space_used_size;
  const make = (i) => ({ a: i, b: [i, { c: i }] });
  const kept = Array.from({ length: 200_000 }, (_, i) => make(i));
  setFlagsFromString('--expose-gc');
  runInNewContext('gc')();
  const alive = oldSpace();
  if (process.argv[1] === 'watched') limitMemory(300, undefined);
  let round = 0;
  const replaceSome = async () => {
    for (let i = 0; i < 10_000; i++) kept[(round * 10_000 + i) % kept.length] = make(i);
    round += 1;
    await turn();
  };
  for (const measured = performance.now() + 1_100; performance.now() < measured;) await replaceSome();
  for (let collections = 0, before = 0; collections < 2; before = oldSpace()) {
    await replaceSome();
    if (oldSpace() < before) collections += 1;
  }
  let highest = alive;
  for (const last = round + 200; round < last; highest = Math.max(highest, oldSpace())) await replaceSome();
  console.log(highest / alive);
  process.exit(0);
`;

function youngCollections(argument: string): { readonly collections: number; readonly threads: number } {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', YOUNG_GARBAGE, argument], {
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  const countOf = (line: RegExp): number => stdout.match(line)?.length ?? 0;
  return { collections: countOf(/: Scavenge /g), threads: countOf(/scavenge\[/g) };
}

function oldSpaceGrew(argument: string): number {
  const { stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', STORM, argument], { encoding: 'utf8' });
  expect(stderr).toBe('');
  return Number(stdout);
}

describe('memory', () => {
  it('beyond what is configured is told of once', () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
    onTestFinished(() => void vi.useRealTimers());
    const log = new CapturedLog();
    const stop = limitMemory(1, log.log);
    for (let looks = 0; looks < 3; looks++) vi.advanceTimersByTime(500);
    expect(log.lines).toMatchObject([{ level: 'warn', memory: 1 }]);
    stop();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('that is garbage of old objects is less than what is alive from a quarter of it on', () => {
    const grew = (argument: string): number => {
      const args = ['--input-type=module', '-e', OLD_GARBAGE, argument];
      const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
      expect(stderr).toBe('');
      return Number(stdout);
    };
    expect(grew('watched')).toBeLessThan(0.7 * grew('not watched'));
  });

  it('that is young stays in the young space, whatever lived long before', () => {
    // When V8 makes up its mind is its own affair: without the watch some three of five do it.
    const grew = Array.from({ length: 5 }, () => oldSpaceGrew('watched'));
    expect(Math.max(...grew)).toBeLessThan(20);
  });

  it('that is young is collected by one thread', () => {
    const { collections, threads } = youngCollections('watched');
    expect(collections).toBeGreaterThan(0);
    expect(threads).toBe(collections);
  });
});
