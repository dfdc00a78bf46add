/**
 * What a run writes into the documents in docs/. The words around it are people's.
 *
 *   PERFORMANCE-TABLES.md   <!-- bench NAME --> ... <!-- end -->           all that a suite measured
 *   PERFORMANCE.md          <!-- bench NAME targets --> ... <!-- end -->   what is aimed for
 *   performance/            a plot of each suite that has one
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '@latchkey/runtime/failure';
import { drawBars } from './bar-chart.js';
import { type RatioMetric, withinLimits } from './ratio.js';
import { drawPlot } from './plot.js';
import { describeRun, type Report, spread, type SuiteReport, target, verdict } from './report.js';

const PLOTS = 'performance';
const LATENCY_PLOT = 'latency.svg';
const MAX_COLUMNS = 100;

/** Writes what the suites measured into the documents in `folder`, and their plots beside them. */
export async function writeDocuments(folder: string, report: Report): Promise<void> {
  await fill(folder, 'PERFORMANCE-TABLES.md', (document) => fillTables(document, report));
  if (report.suites.some(hasTargets)) await fill(folder, 'PERFORMANCE.md', (document) => fillTargets(document, report));
  const plots = report.suites.flatMap(({ suite, series = [], chart }) => [
    ...(series.length === 0 ? [] : [[LATENCY_PLOT, drawPlot(series)] as const]),
    ...(chart === undefined ? [] : [[`${suite}.svg`, drawBars(chart)] as const]),
  ]);
  if (plots.length === 0) return;
  await mkdir(join(folder, PLOTS), { recursive: true });
  for (const [name, svg] of plots) await writeFile(join(folder, PLOTS, name), svg, { mode: 0o644 });
}

async function fill(folder: string, name: string, change: (document: string) => string): Promise<void> {
  const path = join(folder, name);
  const before = await readFile(path, 'utf8').catch(() => {
    throw new Failure(`${path} is not there`, { advice: 'Name the folder of the documents: --out docs' });
  });
  await writeFile(path, change(before));
}

/** @throws Failure where the document has no place for a suite */
export function fillTables(document: string, report: Report): string {
  return report.suites.reduce((text, suite) => replaced(text, suite.suite, formatMarkdown(suite, report)), document);
}

/** @throws Failure where the document has no place for the targets of a suite */
export function fillTargets(document: string, report: Report): string {
  return report.suites
    .filter(hasTargets)
    .reduce((text, suite) => replaced(text, `${suite.suite} targets`, formatTargets(suite, report)), document);
}

function hasTargets({ figures }: SuiteReport): boolean {
  return figures.some((figure) => figure.target !== undefined);
}

function replaced(document: string, mark: string, content: string): string {
  const [begin, end] = [`<!-- bench ${mark} -->\n`, '<!-- end -->'];
  const from = document.indexOf(begin);
  const to = from === -1 ? -1 : document.indexOf(end, from);
  if (to === -1)
    throw new Failure(`the document has no place for ${mark}`, { advice: `Put it between ${begin.trim()} and ${end}` });
  return `${document.slice(0, from)}${begin}\n${content.split('\n').map(wrapped).join('\n')}\n${document.slice(to)}`;
}

/** As the documents are: prose in lines of 100 columns, tables as they are. */
function wrapped(line: string): string {
  if (line.startsWith('|')) return line;
  const indent = line.startsWith('- ') ? '  ' : '';
  const lines: string[] = [];
  for (const word of line.split(' ')) {
    const last = lines.at(-1);
    if (last === undefined) lines.push(word);
    else if (last.length + 1 + word.length <= MAX_COLUMNS) lines[lines.length - 1] = `${last} ${word}`;
    else lines.push(indent + word);
  }
  return lines.join('\n');
}

function formatTargets({ figures }: SuiteReport, report: Report): string {
  const rows = figures.flatMap(target).map(({ what, wanted, measured, word }) => [what, wanted, measured, word]);
  return `${markdownTable(['what', 'aimed for', 'measured', ''], rows)}\n\n${describeRun(report)}.\n`;
}

function formatMarkdown(suite: SuiteReport, report: Report): string {
  const limits = suite.figures.filter((figure) => withinLimits(figure) !== undefined);
  return (
    [
      ...(suite.figures.length === 0 ? [] : [markdownTable(['what', 'measured', 'per', 'ratio'], suite.figures.map(row))]),
      ...(suite.tables ?? []).map(({ title, head, rows }) => `${title}:\n\n${markdownTable(head, rows)}`),
      ...(limits.length === 0 ? [] : [limits.map((figure) => `- ${verdict(figure)}`).join('\n')]),
      ...suite.remarks,
      `${describeRun(report)}.`,
    ].join('\n\n') + '\n'
  );
}

function row({ what, unit, of, baseline, ratio }: RatioMetric): string[] {
  return [
    what,
    `${spread(of.measured, unit)}, ${of.name}`,
    `${spread(baseline.measured, unit)}, ${baseline.name}`,
    spread(ratio),
  ];
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n');
}
