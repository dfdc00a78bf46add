// Proves that the printed code is what an installation takes, that a sheet shows no key but in its
// codes, and that it loads and runs nothing. Its labels fit each paper.

import { readFileSync } from 'node:fs';
import { Secret } from '@latchkey/protocol';
import type { LabelLine } from '@latchkey/operations';
import { type ManifestLine, parseLabel } from '@latchkey/provisioning';
import { LABEL_FORMATS, LABEL_PAGES, labelsOfPage } from '@latchkey/provisioning/label-formats';
import jsQR from 'jsqr';
import { describe, expect, it, vi } from 'vitest';
import { labelSheet, type SheetHeader } from '../src/commands/label-sheet.js';
import { newSecret } from '@latchkey/test-support/registry-fixtures';

const ORDER: SheetHeader = { number: 7, installer: 'Kim & Sons', createdAt: Date.UTC(2026, 10, 23, 22) };

function lineTo(host: string, idI = 0xa1b2): ManifestLine {
  return { idI, idC: 0x1f, controller: { host, port: 5683 }, ik: newSecret() };
}

function sheet(lines: Iterable<LabelLine>, order: SheetHeader = ORDER): string {
  return [...labelSheet(lines, order)].join('');
}

/**
 * The page's codes as a scanner reads them: each path drawn with 4 pixels a module, then decoded.
 */
function scan(page: string): string[] {
  return [...page.matchAll(/viewBox="0 0 (\d+) \1"><path d="([^"]+)"/g)].map(([, size = '', path = '']) => {
    const width = Number(size) * 4;
    const pixels = new Uint8ClampedArray(width * width * 4).fill(255);
    for (const [, x, y, length] of path.matchAll(/M(\d+) (\d+)\.5h(\d+)/g)) {
      for (let row = Number(y) * 4; row < Number(y) * 4 + 4; row++) {
        const start = (row * width + Number(x) * 4) * 4;
        for (let at = start; at < start + Number(length) * 16; at++) if (at % 4 !== 3) pixels[at] = 0;
      }
    }
    return jsQR.default(pixels, width, width, { inversionAttempts: 'dontInvert' })?.data ?? 'no code';
  });
}

const plain = ({ ik, ...rest }: ManifestLine): unknown => ({ ...rest, ik: ik.toHex() });

describe('a sheet of labels', () => {
  it('has a code for each node that a scanner reads and an installation takes', () => {
    const hosts = ['192.0.2.1', '2001:db8:1234:5678:9abc:def0:1234:5678', 'fe80::1%eth0', 'controller_1.plant.example'];
    const lines = [...hosts, `${'long-name.'.repeat(20)}example`].map((host, i) => lineTo(host, i));
    expect(scan(sheet(lines)).map((text) => plain(parseLabel(text, 'label')))).toEqual(lines.map(plain));
  });

  it('reads each of many keys', () => {
    const lines = Array.from({ length: 50 }, (_, i) => lineTo('192.0.2.1', i));
    expect(scan(sheet(lines)).map((text) => plain(parseLabel(text, 'label')))).toEqual(lines.map(plain));
  });

  it('has a code of 33 modules and a quiet zone of 4 for an IPv4 address: a small label is enough', () => {
    expect(sheet([lineTo('192.0.2.1')])).toContain('viewBox="0 0 41 41"');
  });

  it('shows node, controller and address to people, and the key to nobody', () => {
    const line = { ...lineTo('2001:db8::1'), ik: Secret.fromHex('5b2e9d0c4f61a7384c1d9e0b7a6f5e4d') };
    const page = sheet([line]);
    for (const text of ['>0000a1b2<', '>0000001f<', '>[2001:db8::1]:5683<']) expect(page).toContain(text);
    expect(page).not.toContain('class="text"');
    const described = sheet([{ ...line, name: 'Pump <3>', site: 'north', location: 'pillar 7', tags: [], note: 'private' }]);
    for (const text of ['>Pump &lt;3&gt;<', '>north, pillar 7<']) expect(described).toContain(text);
    expect(described).not.toContain('private');
    expect(page.toLowerCase()).not.toContain('5b2e9d0c');
    expect(page.toLowerCase()).not.toContain('latchkey:');
  });

  it('says what it is, whose, of when, and what to do with it', () => {
    const page = sheet([lineTo('192.0.2.1')]);
    expect(page).toContain('<h1>Order 7 for Kim &amp; Sons</h1>');
    expect(page).toContain('holds the initial keys');
    expect(page).toContain('shred it after installing');
  });

  it('has the date that it is here', () => {
    vi.stubEnv('TZ', 'Pacific/Auckland');
    expect(sheet([lineTo('192.0.2.1')])).toContain('<time>2026-11-24</time>');
    vi.unstubAllEnvs();
  });

  it('takes every name as text', () => {
    const page = sheet([lineTo('<b>"&\'')], { ...ORDER, installer: `<script>alert("1")</script> & 'Sons'` });
    expect(page).toContain('&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;Sons&#39;');
    expect(page).toContain('&lt;b&gt;&quot;&amp;&#39;:5683');
    expect(page).not.toMatch(/<script|<b>/);
  });

  it('loads nothing and runs nothing', () => {
    const page = sheet([lineTo('192.0.2.1')]);
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
    expect(page).not.toMatch(/<(?:script|link|img|iframe|object)|\b(?:src|href|on\w+)=|url\(|@import|https?:/);
  });

  it('comes in pieces, one a label', () => {
    function* endless(): Iterable<ManifestLine> {
      for (let i = 0; ; i++) yield lineTo('192.0.2.1', i);
    }
    const pieces: string[] = [];
    for (const piece of labelSheet(endless(), ORDER)) {
      if (pieces.push(piece) === 4) break;
    }
    expect(pieces.slice(1).map((piece) => piece.match(/class="id">(\w+)</)?.[1])).toEqual(['00000000', '00000001', '00000002']);
    for (const piece of pieces) expect(piece.length).toBeLessThan(8_192);
  });
});

/** Light around a dark module of less is read by few phones, in mm. */
const MIN_MODULE = 0.4;

describe.each(LABEL_FORMATS)('labels on %s', (format) => {
  const page = LABEL_PAGES[format];

  it('fit the page, with a code that a phone reads', () => {
    const { margin, columns, rows = 1, label, gap, code } = page;
    expect(margin.x * 2 + columns * label.width + (columns - 1) * gap.x).toBeLessThanOrEqual(page.page.width + 0.2);
    expect(margin.y * 2 + rows * label.height + (rows - 1) * gap.y).toBeLessThanOrEqual(page.page.height + 0.2);
    // 1 mm is left on each side of a code.
    expect(code + 2).toBeLessThanOrEqual(label.height);
    // 45 modules and a quiet zone of 4: a name of 60 characters.
    expect(code / 53).toBeGreaterThan(MIN_MODULE);
  });

  it('begin another page where the one before is full', () => {
    const isCut = labelsOfPage(page) === undefined;
    const onPage = labelsOfPage(page) ?? 45;
    const lines = Array.from({ length: 45 }, (_, i) => lineTo('192.0.2.1', i));
    const html = [...labelSheet(lines, ORDER, format)].join('');
    const pages = html
      .split('<main>')
      .slice(1)
      .map((text) => text.split('<article>').length - 1);
    const full = Array.from({ length: Math.ceil(45 / onPage) }, (_, i) => Math.min(onPage, 45 - i * onPage));
    expect(pages).toEqual(full);
    expect(html.split('</main>').length - 1).toBe(full.length);
    expect(html.includes('<header>')).toBe(isCut);
    expect(html).toContain(`size: ${page.page.width}mm ${page.page.height}mm`);
  });
});

it('the console prints on the same papers', () => {
  const css = readFileSync(new URL('../../console/src/styles.css', import.meta.url), 'utf8');
  const { 'avery-l7160': sheetPage, 'roll-62': roll, a4 } = LABEL_PAGES;
  for (const measure of [
    `margin: ${a4.margin.y}mm ${a4.margin.x}mm`,
    `margin: ${sheetPage.margin.y}mm ${sheetPage.margin.x}mm`,
    `grid-template-columns: repeat(${sheetPage.columns}, ${sheetPage.label.width}mm)`,
    `grid-auto-rows: ${sheetPage.label.height}mm`,
    `gap: 0 ${sheetPage.gap.x}mm`,
    `size: ${roll.page.width}mm ${roll.page.height}mm`,
  ])
    expect(css).toContain(measure);
});
