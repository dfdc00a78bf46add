/** A QR code as the path of an SVG, for Node.js and for browsers. */

import { encodeQR } from 'qr';

/** Light modules around a QR code (ISO/IEC 18004, 5.3.8). */
const QUIET_ZONE = 4;

export interface QrCode {
  /** Modules of a side, with the quiet zone. */
  readonly size: number;
  /** Dark modules, one unit each, to be stroked with a width of one. */
  readonly path: string;
}

/** Draws each row of modules as runs of dark ones, along the row's middle. */
export function drawQrCode(text: string): QrCode {
  const rows = encodeQR(text, 'raw', { ecc: 'medium', border: QUIET_ZONE });
  const path = rows.flatMap((row, y) => runs(row).map(({ x, length }) => `M${x} ${y}.5h${length}`)).join('');
  return { size: rows.length, path };
}

interface ModuleRun {
  readonly x: number;
  readonly length: number;
}

function runs(row: readonly boolean[]): ModuleRun[] {
  const found: ModuleRun[] = [];
  for (let x = row.indexOf(true); x !== -1;) {
    const light = row.indexOf(false, x);
    const end = light === -1 ? row.length : light;
    found.push({ x, length: end - x });
    x = row.indexOf(true, end);
  }
  return found;
}
