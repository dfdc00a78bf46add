/** What a run found, for people and for programs. */

import { formatTable } from '@latchkey/runtime/cli';
import { type RatioMetric, reachesTarget, withinLimits } from './ratio.js';
import type { Machine } from './machine.js';
import type { Summary } from './statistics.js';
import type { Depth, SuiteResult } from './suite.js';

export interface Report {
  /** ISO 8601. */
  readonly date: string;
  readonly depth: Depth;
  readonly rounds: number;
  readonly machine: Machine;
  /** Of the last minute, when it began and when it ended. */
  readonly load: readonly [number, number];
  readonly suites: readonly SuiteReport[];
}

export interface SuiteReport extends SuiteResult {
  readonly suite: string;
}

/** One line about when and where. */
export function describeRun({ date, rounds, machine, load }: Omit<Report, 'suites'>): string {
  const { processor, cores, memoryMiB, system, node } = machine;
  const loads = load.map((n) => n.toFixed(1)).join(' to ');
  return `${processor}, ${cores} cores (load ${loads}), ${memoryMiB} MiB, ${system}, Node.js ${node}, ${date.slice(0, 10)}, ${rounds} rounds`;
}

export function formatSuite({ suite, figures, remarks, tables = [] }: SuiteReport): string {
  const ratios = [
    `\n${suite}: medians of rounds in turn (lowest to highest)\n\n`,
    formatTable(['WHAT', 'MEASURED', 'PER', 'RATIO'], figures.map(row)),
  ];
  return [
    ...(figures.length > 0 ? ratios : []),
    '\n',
    ...tables.flatMap(({ head, rows }) => [
      formatTable(
        head.map((name) => name.toUpperCase()),
        rows.map((cells) => [...cells]),
      ),
      '\n',
    ]),
    ...remarks.map((remark) => `${remark}\n`),
    ...figures.filter((figure) => withinLimits(figure) !== undefined).map((figure) => `${verdict(figure)}\n`),
    ...figures.flatMap(target).map(({ what, wanted, measured, word }) => `${what}: ${measured}, ${wanted} aimed for: ${word}\n`),
  ].join('');
}

function row({ what, unit, of, baseline, ratio }: RatioMetric): string[] {
  return [what, `${spread(of.measured, unit)} ${of.name}`, `${spread(baseline.measured, unit)} ${baseline.name}`, spread(ratio)];
}

/** What is wanted of a figure, and whether it is so. */
export function verdict(figure: RatioMetric): string {
  const { what, unit, of, baseline, ratio, limit, bound, better } = figure;
  const word = withinLimits(figure) === true ? 'holds' : 'DOES NOT HOLD';
  const limits =
    limit === undefined
      ? []
      : [`${number(ratio.median)} times ${baseline.name}, ${better === 'higher' ? 'at least' : 'at most'} ${limit} wanted`];
  const bounds =
    bound === undefined ? [] : [`${withUnit(number(of.measured.median), unit)}, at most ${withUnit(String(bound), unit)} wanted`];
  return `${what}, ${of.name}: ${[...limits, ...bounds].join('; ')}: ${word}`;
}

/** A target of a figure, in words. */
export interface TargetWords {
  readonly what: string;
  readonly wanted: string;
  readonly measured: string;
  readonly word: string;
}

/** None for a figure without a target. */
export function target(figure: RatioMetric): TargetWords[] {
  const { what, unit, of, baseline, ratio, better } = figure;
  const { limit, bound } = figure.target ?? {};
  const word = reachesTarget(figure) === true ? 'reached' : 'not reached';
  const one = (wanted: string, measured: string): TargetWords => ({ what: `${what}, ${of.name}`, wanted, measured, word });
  if (limit !== undefined)
    return [one(`${better === 'higher' ? 'at least' : 'at most'} ${limit} x ${baseline.name}`, `${spread(ratio)} x`)];
  return bound === undefined ? [] : [one(`at most ${withUnit(String(bound), unit)}`, spread(of.measured, unit))];
}

export function spread({ median, low, high }: Summary, unit: RatioMetric['unit'] = 'n'): string {
  const middle = withUnit(number(median), unit);
  return low === high ? middle : `${middle} (${number(low)} to ${number(high)})`;
}

function withUnit(text: string, unit: RatioMetric['unit']): string {
  return unit === 'n' ? text : `${text} ${unit}`;
}

/** Three digits that count. */
export function number(n: number): string {
  if (n >= 100 || n === 0) return Math.round(n).toLocaleString('en');
  return n.toPrecision(n >= 10 ? 3 : 2);
}
