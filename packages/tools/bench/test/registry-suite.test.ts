// Proves that the registry suite measures what it says, on registries too small to tell anything of
// speed.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { Fleet } from '../src/registry/fleet.js';
import { registrySuite } from '../src/registry/suite.js';
import { formatSuite } from '../src/report.js';

it('runs at tiny sizes: every figure is a number, and the report has all of them', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-bench-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const told: string[] = [];
  const sizes = { few: 20, many: 60, shortImport: 30, lookUps: 10, lists: 2, alone: 4, together: 16, serverJoins: 100 };
  const outcome = await registrySuite({ rounds: 1, depth: 'quick', folder, report: (what) => told.push(what) }, sizes);
  for (const { of, baseline, ratio } of outcome.figures) {
    for (const summary of [of.measured, baseline.measured, ratio]) {
      expect(Number.isFinite(summary.median)).toBe(true);
      expect(summary.low).toBeLessThanOrEqual(summary.high);
    }
  }
  const what = outcome.figures.map((figure) => figure.what);
  for (const part of [
    'import, a line',
    'lookup',
    'commit, 1 in',
    'commit, 64 in',
    'join, 1 in',
    'join, 64 in',
    'node list',
    'until it listens',
  ])
    expect(what.filter((name) => name.startsWith(part) || name.includes(part))).not.toEqual([]);
  expect(outcome.figures.filter(({ limit }) => limit !== undefined).map((figure) => figure.what)).toEqual([
    'join, 1 in flight',
    'join, 1 in flight, CPU time',
    'join, 64 in flight',
    'join, 64 in flight, CPU time',
    'auth-server run, CPU time of a join over UDP',
  ]);
  const report = formatSuite({ suite: 'registry', ...outcome });
  expect(what.filter((name) => !report.includes(name))).toEqual([]);
  expect(told.length).toBeGreaterThan(5);
});

it('has a fleet whose IDs are all different', () => {
  const fleet = new Fleet(100_000);
  expect(new Set(Array.from({ length: fleet.size }, (_, i) => fleet.idI(i))).size).toBe(fleet.size);
  expect(new Set(fleet.pick(1_000)).size).toBe(1_000);
  expect(new Fleet(5).pick(10)).toHaveLength(5);
});
