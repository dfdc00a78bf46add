/** Costs as bars, for one plot: where a join's time goes, or what it costs in two registries. */

import { number } from './report.js';
import type { BarChart } from './series.js';
import { at, COLOURS, drawing, INK, line, niceAbove, text, WIDTH } from './svg.js';

const LEFT = 280;
const RIGHT = 64;
const TOP = 36;
const BOTTOM = 28;
const BAR = 12;
const GAP = 8;

export function drawBars({ title, unit, legend, rows, isStacked = false }: BarChart): string {
  const lengthOf = (values: readonly number[]): number =>
    isStacked ? values.reduce((sum, value) => sum + value, 0) : Math.max(...values);
  const most = niceAbove(Math.max(...rows.map(({ values }) => lengthOf(values))));
  if (!Number.isFinite(most)) throw new RangeError('nothing to draw');
  const scale = (value: number): number => (value / most) * (WIDTH - LEFT - RIGHT);
  const rowHeight = (isStacked ? 1 : legend.length) * BAR + GAP;
  const bottom = TOP + rows.length * rowHeight;
  const fifths = Array.from({ length: 6 }, (_, i) => (most * i) / 5);
  const bar = (x: number, y: number, value: number, i: number): string =>
    `<rect x="${at(x)}" y="${at(y)}" width="${at(scale(value))}" height="${at(BAR - 1)}" fill="${COLOURS[i % COLOURS.length] ?? INK}"/>`;
  return drawing(title, bottom + BOTTOM, [
    ...legend.map((name, i) => `${bar(LEFT + 160 * i, 10, most / 25, i)}${text(LEFT + 160 * i + 24, 20, 'start', name)}`),
    ...fifths.flatMap((value) => [
      line(LEFT + scale(value), TOP - 4, LEFT + scale(value), bottom),
      text(LEFT + scale(value), bottom + 16, 'middle', `${number(value)} ${unit}`),
    ]),
    ...rows.flatMap(({ name, values }, row) => {
      const y = TOP + row * rowHeight;
      const ends = values.map((_, i) => (isStacked ? lengthOf(values.slice(0, i)) : 0));
      return [
        text(LEFT - 8, y + (rowHeight - GAP) / 2 + 4, 'end', name),
        ...values.map((value, i) => bar(LEFT + scale(ends[i] ?? 0), y + (isStacked ? 0 : i * BAR), value, i)),
        ...(isStacked ? [lengthOf(values)] : values).map((value, i) =>
          text(LEFT + scale(value) + 6, y + i * BAR + BAR - 2, 'start', number(value)),
        ),
      ];
    }),
  ]);
}
