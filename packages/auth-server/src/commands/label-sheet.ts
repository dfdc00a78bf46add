/**
 * The sheet of labels an administrator prints for an installer: a QR code per node, in one page of
 * HTML that loads nothing.
 */

import { formatId } from '@latchkey/protocol';
import { formatDate } from '@latchkey/runtime/cli';
import { formatEndpoint } from '@latchkey/runtime/net';
import type { LabelLine } from '@latchkey/operations';
import { formatLabelInCapitals } from '@latchkey/provisioning';
import { drawQrCode } from '@latchkey/provisioning/qr-code';
import type { OrderRecord } from '@latchkey/registry';

/** What the head of the sheet tells of the order. */
export type SheetHeader = Pick<OrderRecord, 'number' | 'installer' | 'createdAt'>;

/**
 * The sheet in pieces, one a label: some kilobytes each, so that a large order is never one string.
 */
export function* labelSheet(lines: Iterable<LabelLine>, order: SheetHeader): Iterable<string> {
  yield headerOf(order);
  for (const line of lines) yield labelOf(line);
  yield '</main>\n</body>\n</html>\n';
}

function headerOf({ number, installer, createdAt }: SheetHeader): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width">
<title>Labels of order ${number}</title>
<style>${STYLE}</style>
</head>
<body>
<header>
<h1>Order ${number} for ${escapeHtml(installer)}</h1>
<p><time>${formatDate(createdAt)}</time></p>
<p><strong>This sheet holds the initial keys of the nodes. Hand it to the installer and nobody else, and shred it after installing.</strong></p>
<p>On each device, run <code>latchkey-node-agent install --state DIR --label -</code> and scan the code of its label.</p>
</header>
<main>
`;
}

/**
 * The key is in the code alone: a glance at the sheet, or a photograph of poor quality, does not
 * give it away.
 */
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

const STYLE = `
@page { size: A4; margin: 12mm 10mm; }
:root { color-scheme: light; }
* { box-sizing: border-box; margin: 0; }
body { max-width: 189mm; margin: 0 auto; background: #fff; color: #000; font: 9pt/1.35 sans-serif; }
header { margin-bottom: 5mm; }
h1 { font-size: 15pt; overflow-wrap: anywhere; }
code, dd { font-family: "DejaVu Sans Mono", "Liberation Mono", Menlo, Consolas, monospace; }
main { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 2.5mm; }
article { display: flex; align-items: center; gap: 1mm; padding: 1mm; border: 0.2mm dashed #888; break-inside: avoid; }
svg { flex: none; width: 30mm; height: 30mm; background: #fff; }
path { stroke: #000; shape-rendering: crispEdges; }
dl { min-width: 0; }
dt { font-size: 6.5pt; color: #444; }
dd { font-size: 7.5pt; overflow-wrap: anywhere; }
.text { font-family: sans-serif; }
.id { margin-bottom: 1.5mm; font-size: 13.5pt; font-weight: bold; overflow-wrap: normal; }
@media screen { body { padding: 5mm 0; } }
`;
