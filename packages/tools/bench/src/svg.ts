/** Parts of the plots: SVG that reads on light and on dark ground. */

export const WIDTH = 720;
export const COLOURS: readonly string[] = ['#3572b0', '#c2553a', '#4c8c4a', '#8a5fb0'];
export const INK = '#808080';

/** A plot of `height`, and what is in it. */
export function drawing(title: string, height: number, parts: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${at(height)}" font-family="sans-serif" font-size="12" fill="${INK}">`,
    `<title>${escape(title)}</title>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

export function line(x1: number, y1: number, x2: number, y2: number): string {
  return `<line x1="${at(x1)}" y1="${at(y1)}" x2="${at(x2)}" y2="${at(y2)}" stroke="${INK}" stroke-opacity="0.25"/>`;
}

export function text(x: number, y: number, anchor: 'start' | 'middle' | 'end', words: string): string {
  return `<text x="${at(x)}" y="${at(y)}" text-anchor="${anchor}">${escape(words)}</text>`;
}

export function at(n: number): string {
  return n.toFixed(1);
}

export function escape(words: string): string {
  return words.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

/** 1, 2 or 5 times a power of ten. */
export function niceAbove(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  return ([1, 2, 5, 10].find((n) => n * power >= value) ?? 10) * power;
}
