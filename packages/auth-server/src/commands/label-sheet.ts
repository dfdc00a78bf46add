/**
 * The sheets of labels that an administrator prints for an installer: a QR code per node, in one
 * HTML file that loads nothing.
 */

import { formatId } from '@latchkey/protocol';
import { formatDate } from '@latchkey/runtime/cli';
import { formatEndpoint } from '@latchkey/runtime/net';
import type { LabelLine } from '@latchkey/operations';
import { formatLabelInCapitals } from '@latchkey/provisioning';
import { LABEL_PAGES, type LabelFormat, type LabelPage, labelsOfPage } from '@latchkey/provisioning/label-formats';
import { drawQrCode } from '@latchkey/provisioning/qr-code';
import type { OrderRecord } from '@latchkey/registry';

/** Fields of the order in the header of the sheet. */
export type SheetHeader = Pick<OrderRecord, 'number' | 'installer' | 'createdAt'>;

/**
 * The sheet in pieces, one a label: some kilobytes each, so that a large order is never one string.
 */
export function* labelSheet(lines: Iterable<LabelLine>, order: SheetHeader, format: LabelFormat = 'a4'): Iterable<string> {
  const page = LABEL_PAGES[format];
  const onPage = labelsOfPage(page);
  yield `${headOf(order, page)}${onPage === undefined ? headerOf(order) : ''}`;
  let count = 0;
  for (const line of lines) {
    const isFirst = count === 0 || (onPage !== undefined && count % onPage === 0);
    yield `${isFirst ? `${count === 0 ? '' : '</main>\n'}<main>\n` : ''}${labelOf(line)}`;
    count += 1;
  }
  yield `${count === 0 ? '' : '</main>\n'}</body>\n</html>\n`;
}

function headOf({ number }: SheetHeader, page: LabelPage): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Labels of order ${number}</title>
<style>${STYLE}${styleOf(page)}</style>
</head>
<body>
`;
}

/** Label sheets with peel-off labels, and rolls, have no space for it. */
function headerOf({ number, installer, createdAt }: SheetHeader): string {
  return `<header>
<h1>Order ${number} for ${escapeHtml(installer)}</h1>
<p><time>${formatDate(createdAt)}</time></p>
<p><strong>This sheet holds the initial keys of the nodes. Hand it to the installer and nobody else, and shred it after installing.</strong></p>
<p>On each device, run <code>latchkey-node-agent install --state DIR --label -</code> and scan the code of its label.</p>
</header>
`;
}

/** The key is in the code only. A glance at the sheet, or a poor photograph, does not reveal it. */
function labelOf(line: LabelLine): string {
  const id = formatId(line.idI);
  const place = [line.site ?? '', line.location ?? ''].filter((text) => text !== '').join(', ');
  const texts = [line.name ?? '', place].filter((text) => text !== '').map((text) => `<dd class="text">${escapeHtml(text)}</dd>`);
  return `<article>
${qrCode(formatLabelInCapitals(line), `QR code of node ${id}`)}
<dl><dt>Node</dt><dd class="id">${id}</dd>${texts.join('')}<dt>Controller</dt><dd>${formatId(line.idC)}</dd><dd>${escapeHtml(formatEndpoint(line.controller))}</dd></dl>
</article>
`;
}

function qrCode(text: string, title: string): string {
  const { size, path } = drawQrCode(text);
  return `<svg role="img" aria-label="${title}" viewBox="0 0 ${size} ${size}"><path d="${path}"/></svg>`;
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function escapeHtml(text: string): string {
  return text.replaceAll(/[&<>"']/g, (character) => ENTITIES[character] ?? '');
}

/** Labels that are cut have lines to cut along, and as many on a page as fit. */
function styleOf(format: LabelPage): string {
  const { page, margin, columns, rows, label, gap, code } = format;
  const isCut = rows === undefined;
  const pageMargin = isCut ? `${margin.y}mm ${margin.x}mm` : '0';
  return `
@page { size: ${page.width}mm ${page.height}mm; margin: ${pageMargin}; }
main { display: grid; grid-template-columns: repeat(${columns}, ${label.width}mm); gap: ${gap.y}mm ${gap.x}mm; }
article { ${isCut ? 'min-height' : 'height'}: ${label.height}mm; }
svg { width: ${code}mm; height: ${code}mm; }
${
  isCut
    ? 'article { border: 0.2mm dashed #888; }'
    : `main { padding: ${margin.y}mm 0 0 ${margin.x}mm; grid-auto-rows: ${label.height}mm; }
main + main { break-before: page; }`
}
`;
}

const STYLE = `
:root { color-scheme: light; }
* { box-sizing: border-box; margin: 0; }
body { background: #fff; color: #000; font: 9pt/1.35 sans-serif; }
header { max-width: 189mm; margin-bottom: 5mm; }
h1 { font-size: 15pt; overflow-wrap: anywhere; }
code, dd { font-family: "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace; }
article { display: flex; align-items: center; gap: 1mm; padding: 1mm; overflow: hidden; break-inside: avoid; }
svg { flex: none; background: #fff; }
path { stroke: #000; shape-rendering: crispEdges; }
/* What does not fit is the address, and not the ID. */
dl { min-width: 0; max-height: 100%; overflow: hidden; }
dt { font-size: 6.5pt; line-height: 1.2; color: #444; }
dd { font-size: 7.5pt; line-height: 1.2; overflow-wrap: anywhere; }
.text { font-family: sans-serif; }
.id { margin-bottom: 0.5mm; font-size: 12pt; font-weight: bold; overflow-wrap: normal; }
@media screen { body { padding: 5mm; } }
`;
