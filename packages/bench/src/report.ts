/** What a run found, for people and for programs. */

import { formatTable } from '@latchkey/runtime';
import { type Figure, holds } from './figure.js';
import type { Machine } from './machine.js';
import type { Summary } from './statistics.js';
import type { Outcome } from './suite.js';

export interface Report extends Outcome {
  readonly suite: string;
  /** ISO 8601. */
  readonly date: string;
  readonly rounds: number;
  readonly machine: Machine;
  /** Of the last minute, when it began and when it ended. */
  readonly load: readonly [number, number];
}

export function formatReport({ suite, date, rounds, machine, load, figures, remarks }: Report): string {
  const { processor, cores, memoryMiB, system, node } = machine;
  const limits = figures.filter(({ limit }) => limit !== undefined);
  return [
    `${suite}, ${date.slice(0, 10)}, ${rounds} rounds in turn: medians (lowest to highest)\n`,
    `${processor}, ${cores} cores, ${memoryMiB} MiB, ${system}, Node.js ${node}; load ${load.map((n) => n.toFixed(1)).join(' to ')}\n\n`,
    formatTable(['WHAT', 'MEASURED', 'PER', 'RATIO'], figures.map(row)),
    '\n',
    ...remarks.map((remark) => `${remark}\n`),
    ...limits.map((figure) => `${verdict(figure)}\n`),
  ].join('');
}

function row(figure: Figure): string[] {
  const { what, unit, of, per, ratio } = figure;
  return [what, `${spread(of.measured, unit)} ${of.name}`, `${spread(per.measured, unit)} ${per.name}`, spread(ratio)];
}

function verdict(figure: Figure): string {
  const { what, of, per, ratio, limit } = figure;
  const word = holds(figure) === true ? 'holds' : 'DOES NOT HOLD';
  return `${what}: ${number(ratio.median)} times at ${of.name} what it is at ${per.name}, at most ${limit} wanted: ${word}`;
}

function spread({ median, low, high }: Summary, unit = ''): string {
  return `${number(median)}${unit === '' ? '' : ` ${unit}`} (${number(low)} to ${number(high)})`;
}

/** Three digits that count. */
function number(n: number): string {
  return n >= 100 ? String(Math.round(n)) : n.toPrecision(n >= 10 ? 3 : 2).replace(/^(\d\.\d)$/, '$1');
}
