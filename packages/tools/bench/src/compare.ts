/**
 * What got worse since a run that was stored, by ratio: rates tell of the machine, ratios of the
 * program.
 */

import { readPlainFile } from '@latchkey/runtime/files';
import { UsageFailure } from '@latchkey/runtime/failure';
import { z } from 'zod';
import type { RatioMetric } from './ratio.js';
import { number, type Report } from './report.js';

/** A ratio that is this many times worse fails the run, if the figure is a steady one. */
const REGRESSION_FACTOR = 1.25;

/** What is read of a stored run. */
export interface StoredRun {
  readonly suites: readonly {
    readonly suite: string;
    readonly figures: readonly (Named & { readonly ratio: { readonly median: number } })[];
  }[];
}

interface Named {
  readonly what: string;
  readonly of: { readonly name: string };
  readonly baseline: { readonly name: string };
}

const nameSchema = z.object({ name: z.string() });
const figureSchema = z.object({
  what: z.string(),
  of: nameSchema,
  baseline: nameSchema,
  ratio: z.object({ median: z.number() }),
});
const storedSchema: z.ZodType<StoredRun> = z.object({
  suites: z.array(z.object({ suite: z.string(), figures: z.array(figureSchema) })),
});

export async function readStoredRun(path: string): Promise<StoredRun> {
  const text = await readPlainFile(path);
  try {
    return storedSchema.parse(JSON.parse(text));
  } catch {
    throw new UsageFailure(`${path} is not what --json wrote`, { advice: 'Make it with: pnpm bench --json FILE' });
  }
}

export interface Comparison {
  readonly name: string;
  readonly before: number;
  readonly now: number;
  /** How many times worse: below 1 is better. */
  readonly worse: number;
  readonly stable: boolean;
}

/** Figures that both runs have. */
export function compareRuns(stored: StoredRun, report: Report): Comparison[] {
  return report.suites.flatMap(({ suite, figures }) => {
    const before = new Map(
      stored.suites
        .filter((other) => other.suite === suite)
        .flatMap((other) => other.figures.map((figure) => [nameOf(figure), figure])),
    );
    return figures.flatMap((figure) => {
      const ratio = before.get(nameOf(figure))?.ratio.median;
      return ratio === undefined ? [] : [compareFigure(suite, figure, ratio)];
    });
  });
}

/** Whether a run is to be failed for it. */
export function isRegression({ worse, stable }: Comparison): boolean {
  return stable && worse > REGRESSION_FACTOR;
}

/** What differs by more than a twentieth, the worst first. */
export function formatComparison(comparisons: readonly Comparison[]): string {
  const lines = comparisons
    .filter(({ worse }) => worse > 1.05 || worse < 0.95)
    .toSorted((a, b) => b.worse - a.worse)
    .map((one) => {
      const word = one.worse > 1 ? `${number(one.worse)} times worse` : `${number(1 / one.worse)} times better`;
      return `${isRegression(one) ? 'FAILS  ' : '       '}${one.name}: ${number(one.before)} then, ${number(one.now)} now: ${word}${one.stable ? '' : ' (not a steady figure)'}\n`;
    });
  return `\n${comparisons.length} figures compared, ${lines.length} of them differ by more than a twentieth\n${lines.join('')}`;
}

function compareFigure(suite: string, figure: RatioMetric, before: number): Comparison {
  const now = figure.ratio.median;
  const worse = before === now ? 1 : figure.better === 'higher' ? before / now : now / before;
  return { name: `${suite}: ${nameOf(figure)}`, before, now, worse, stable: figure.stable === true };
}

function nameOf({ what, of, baseline }: Named): string {
  return `${what}, ${of.name} per ${baseline.name}`;
}
