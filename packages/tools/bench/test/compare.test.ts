// Proves that a run is judged against a stored one by its ratios, that unsteady figures fail
// nobody, and that what is drawn and written holds together.

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { compareRuns, isRegression, formatComparison, readStoredRun } from '../src/compare.js';
import { drawBars } from '../src/bar-chart.js';
import { fillTables, fillTargets } from '../src/document.js';
import { type RatioMetric, ratioMetric, withinLimits, type RatioLimits } from '../src/ratio.js';
import { drawPlot } from '../src/plot.js';
import type { Report } from '../src/report.js';
import { knee, type Point } from '../src/series.js';

const of = (value: number, rules: RatioLimits, what = 'x'): RatioMetric =>
  ratioMetric(what, 'us', { name: 'a', values: [value] }, { name: 'b', values: [10] }, rules);

function reportOf(...figures: readonly RatioMetric[]): Report {
  const machine = { processor: 'a processor', cores: 2, memoryMiB: 1, system: 'a system', node: 'v20' };
  const suites = [{ suite: 'joins', figures, remarks: ['A remark.'] }];
  return { date: '2026-01-01T00:00:00.000Z', depth: 'quick', rounds: 1, machine, load: [0, 0], suites };
}

describe('compared with a stored run', () => {
  const judge = (before: RatioMetric, now: RatioMetric): boolean[] =>
    compareRuns(reportOf(before), reportOf(now)).map(isRegression);

  it('a steady ratio that is a quarter worse fails, and one that is less so does not', () => {
    expect(judge(of(10, {}), of(12.6, { stable: true }))).toEqual([true]);
    expect(judge(of(10, {}), of(12.4, { stable: true }))).toEqual([false]);
    expect(judge(of(10, {}), of(1, { stable: true }))).toEqual([false]);
  });

  it('what is better when higher is worse when lower', () => {
    expect(judge(of(10, {}), of(7.9, { stable: true, better: 'higher' }))).toEqual([true]);
    expect(judge(of(10, {}), of(99, { stable: true, better: 'higher' }))).toEqual([false]);
  });

  it('a figure that is not steady is told of and fails nobody; a new one is compared with nothing', () => {
    expect(judge(of(10, {}), of(100, {}))).toEqual([false]);
    expect(formatComparison(compareRuns(reportOf(of(10, {})), reportOf(of(100, {}))))).toContain(
      '10.0 times worse (not a steady figure)',
    );
    expect(judge(of(10, {}), of(100, { stable: true }, 'another'))).toEqual([]);
  });

  it('zero then and zero now is no worse', () => {
    expect(judge(of(0, {}), of(0, { stable: true }))).toEqual([false]);
    expect(judge(of(0, {}), of(1, { stable: true }))).toEqual([true]);
  });

  it('is read from the file that was written, and anything else is refused', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'latchkey-bench-test-'));
    onTestFinished(() => rm(folder, { recursive: true, force: true }));
    const path = join(folder, 'stored.json');
    await writeFile(path, JSON.stringify(reportOf(of(10, {}))));
    expect((await readStoredRun(path)).suites[0]?.figures[0]?.ratio.median).toBe(1);
    await writeFile(path, '{"suites": 1}');
    await expect(readStoredRun(path)).rejects.toMatchObject({
      name: 'UsageFailure',
      message: `${path} is not what --json wrote`,
    });
  });
});

it('a limit holds from below for what is better when higher, and a bound is on what was measured', () => {
  expect(withinLimits(of(9, { limit: 0.8, better: 'higher' }))).toBe(true);
  expect(withinLimits(of(7, { limit: 0.8, better: 'higher' }))).toBe(false);
  expect(withinLimits(of(9, { bound: 9 }))).toBe(true);
  expect(withinLimits(of(9, { bound: 8 }))).toBe(false);
});

describe('latency against load', () => {
  const points: Point[] = [1, 10, 100, 105, 103].map((perSecond, i) => ({
    perSecond,
    p50: i + 1,
    p99: 9 * (i + 1),
    load: `${2 ** i} in flight`,
  }));

  it('has its knee where more in flight brings less than a tenth more', () => {
    expect(knee(points)?.load).toBe('4 in flight');
    expect(knee([])).toBeUndefined();
  });

  it('is drawn as well-formed SVG with every point inside it', () => {
    const svg = drawPlot([
      { name: '`a` & <b>', points },
      { name: 'c', points: points.slice(0, 1) },
    ]);
    expectWellFormed(svg);
    expect(svg).toContain('a &amp; &lt;b&gt;');
    const circles = [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)]);
    expect(circles).toHaveLength(points.length + 1);
    for (const [x = -1, y = -1] of circles) expect(x >= 0 && x <= 720 && y >= 0 && y <= 420).toBe(true);
  });
});

describe.each([
  ['one on the other', true, 30],
  ['side by side', false, 20],
] as const)('costs as bars %s', (_, isStacked, longest) => {
  it('are drawn as well-formed SVG, each as long as its cost', () => {
    const rows = [
      { name: 'a <b>', values: [10, 20] },
      { name: 'c', values: [0, 5] },
    ];
    const svg = drawBars({ title: 't', unit: 'us', legend: ['x', 'y'], rows, isStacked });
    expectWellFormed(svg);
    expect(svg).toContain('a &lt;b&gt;');
    expect(svg).toContain(`>${longest}.0<`);
    const widths = [...svg.matchAll(/<rect [^>]*width="([\d.]+)"/g)].map(([, width]) => Number(width)).slice(2);
    expect(widths[1]).toBeCloseTo(2 * (widths[0] ?? 0));
    expect(widths[3]).toBeCloseTo((widths[0] ?? 0) / 2);
  });
});

function expectWellFormed(svg: string): void {
  const open: string[] = [];
  const wrong: string[] = [];
  for (const [tag, closing, name = '', , selfClosing] of svg.matchAll(/<(\/?)([a-z]+)((?:"[^"]*"|[^">])*?)(\/?)>/g)) {
    if (closing === '/' && open.pop() !== name) wrong.push(tag);
    if (closing === '' && selfClosing === '') open.push(name);
  }
  expect([open, wrong]).toEqual([[], []]);
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
}

it('the tables of a document are replaced between their marks, and nothing else of it', async () => {
  const document = 'before\n<!-- bench joins -->\nold\n<!-- end -->\nbetween\n<!-- bench air -->\nkept\n<!-- end -->\nafter\n';
  const filled = fillTables(document, reportOf(of(9, { bound: 8 })));
  expect(filled).toMatch(
    /^before\n<!-- bench joins -->\n[^]*<!-- end -->\nbetween\n<!-- bench air -->\nkept\n<!-- end -->\nafter\n$/,
  );
  expect(filled).toContain('| x | 9.0 us, a | 10.0 us, b | 0.90 |');
  expect(filled).toContain('DOES NOT HOLD');
  expect(filled).not.toContain('old');
  expect(() => fillTables('nothing', reportOf())).toThrow('no place for joins');
  const real = await readFile(new URL('../../../../docs/PERFORMANCE-TABLES.md', import.meta.url), 'utf8');
  for (const suite of ['air', 'footprint', 'joins', 'peers', 'readers', 'registry', 'where'])
    expect(real).toContain(`<!-- bench ${suite} -->\n`);
});

it('a target stands in the page with what was reached, and fails no run', async () => {
  const [reached, missed] = [of(9, { target: { limit: 1 } }), of(9, { target: { bound: 8 } })];
  expect([reached, missed].map(withinLimits)).toEqual([undefined, undefined]);
  const page = '<!-- bench joins targets -->\n<!-- end -->\n';
  const filled = fillTargets(page, reportOf(reached, missed));
  expect(filled).toContain('| x, a | at most 1 x b | 0.90 x | reached |');
  expect(filled).toContain('| x, a | at most 8 us | 9.0 us | not reached |');
  expect(fillTargets('no marks', reportOf(of(9, {})))).toBe('no marks');
  expect(() => fillTargets('nothing', reportOf(reached))).toThrow('no place for joins targets');
  const real = await readFile(new URL('../../../../docs/PERFORMANCE.md', import.meta.url), 'utf8');
  for (const suite of ['joins', 'peers', 'readers']) expect(real).toContain(`<!-- bench ${suite} targets -->\n`);
});
