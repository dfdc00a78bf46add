/** The plot of latency against load. */

import type { Series } from './series.js';
import { at, COLOURS, drawing, escape, INK, line, niceAbove, text, WIDTH } from './svg.js';

const HEIGHT = 420;
const LEFT = 64;
const RIGHT = 24;
const TOP = 24;
const BOTTOM = 56;

/** Latency on a logarithmic axis: p50 as a line, p99 as a dashed one; a point for each load. */
export function drawPlot(series: readonly Series[]): string {
  const points = series.flatMap((one) => one.points);
  if (points.length === 0) throw new RangeError('nothing to draw');
  const most = niceAbove(Math.max(...points.map(({ perSecond }) => perSecond)));
  const latencies = points.flatMap(({ p50, p99 }) => [p50, p99]);
  const [low, high] = [Math.floor(Math.log10(Math.min(...latencies))), Math.ceil(Math.log10(Math.max(...latencies)))];
  const x = (perSecond: number): number => LEFT + (perSecond / most) * (WIDTH - LEFT - RIGHT);
  const y = (ms: number): number => TOP + ((high - Math.log10(ms)) / Math.max(high - low, 1)) * (HEIGHT - TOP - BOTTOM);
  return drawing('Latency of a join against load', HEIGHT, [
    ...grid(most, low, high, x, y),
    ...series.flatMap((one, i) => curves(one, COLOURS[i % COLOURS.length] ?? INK, x, y)),
    ...series.map((one, i) => legend(one.name, COLOURS[i % COLOURS.length] ?? INK, i)),
  ]);
}

type Scale = (value: number) => number;

function grid(most: number, low: number, high: number, x: Scale, y: Scale): string[] {
  const decades = Array.from({ length: high - low + 1 }, (_, i) => 10 ** (low + i));
  const fifths = Array.from({ length: 6 }, (_, i) => (most * i) / 5);
  return [
    ...decades.flatMap((ms) => [line(LEFT, y(ms), WIDTH - RIGHT, y(ms)), text(LEFT - 8, y(ms) + 4, 'end', `${ms} ms`)]),
    ...fifths.flatMap((rate) => [
      line(x(rate), TOP, x(rate), HEIGHT - BOTTOM),
      text(x(rate), HEIGHT - BOTTOM + 18, 'middle', Math.round(rate).toLocaleString('en')),
    ]),
    text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 14, 'middle', 'joins/s; each point doubles the joins in flight, from 1'),
  ];
}

function curves({ points }: Series, colour: string, x: Scale, y: Scale): string[] {
  const path = (what: 'p50' | 'p99'): string =>
    points.map((point, i) => `${i === 0 ? 'M' : 'L'}${at(x(point.perSecond))} ${at(y(point[what]))}`).join(' ');
  const dots = points.map(
    (point) =>
      `<circle cx="${at(x(point.perSecond))}" cy="${at(y(point.p50))}" r="3" fill="${colour}"><title>${escape(point.load)}</title></circle>`,
  );
  return [
    `<path d="${path('p50')}" fill="none" stroke="${colour}" stroke-width="2"/>`,
    `<path d="${path('p99')}" fill="none" stroke="${colour}" stroke-width="1.5" stroke-dasharray="5 4"/>`,
    ...dots,
  ];
}

function legend(name: string, colour: string, i: number): string {
  const top = TOP + 16 + 18 * i;
  return [
    `<line x1="${LEFT + 12}" y1="${top}" x2="${LEFT + 36}" y2="${top}" stroke="${colour}" stroke-width="2"/>`,
    text(LEFT + 44, top + 4, 'start', `${name.replaceAll('`', '')}: p50, dashed p99`),
  ].join('');
}
