/**
 * The tables of docs/PERFORMANCE.md, between marks that say whose they are; the words around them
 * are people's.
 *
 *   <!-- bench NAME -->
 *   ...
 *   <!-- end -->
 */

import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure } from '@latchkey/runtime/failure';
import { type RatioMetric, withinLimits } from './ratio.js';
import { drawPlot } from './plot.js';
import { describeRun, type Report, spread, type SuiteReport, verdict } from './report.js';

const PLOT = 'performance/latency.svg';

/**
 * Writes the tables of the suites that were run into PERFORMANCE.md in `folder`, and the plot
 * beside it.
 */
export async function writeDocument(folder: string, report: Report): Promise<void> {
  const path = join(folder, 'PERFORMANCE.md');
  const before = await readFile(path, 'utf8').catch(() => {
    throw new Failure(`${path} is not there`, { advice: 'Name the folder of the documents: --out docs' });
  });
  await writeFile(path, fillDocument(before, report));
  const series = report.suites.flatMap((suite) => suite.series ?? []);
  if (series.length === 0) return;
  await mkdir(join(folder, 'performance'), { recursive: true });
  await writeFile(join(folder, PLOT), drawPlot(series), { mode: 0o644 });
}

/** @throws Failure where the document has no place for a suite */
export function fillDocument(document: string, report: Report): string {
  return report.suites.reduce((text, suite) => {
    const [begin, end] = [`<!-- bench ${suite.suite} -->\n`, '<!-- end -->'];
    const from = text.indexOf(begin);
    const to = from === -1 ? -1 : text.indexOf(end, from);
    if (to === -1)
      throw new Failure(`PERFORMANCE.md has no place for ${suite.suite}`, {
        advice: `Put it between ${begin.trim()} and ${end}`,
      });
    return `${text.slice(0, from)}${begin}\n${formatMarkdown(suite, report)}\n${text.slice(to)}`;
  }, document);
}

function formatMarkdown(suite: SuiteReport, report: Report): string {
  const limits = suite.figures.filter((figure) => withinLimits(figure) !== undefined);
  return (
    [
      markdownTable(['what', 'measured', 'per', 'ratio'], suite.figures.map(row)),
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
