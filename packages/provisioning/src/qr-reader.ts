/** Reads a QR code in a picture, for browsers that have no reader. */

import { decodeQR } from 'qr/decode.js';

/** Pixels in rows, of red, green, blue and opacity. */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly data: Uint8ClampedArray;
}

/** Returns the text of a code, or `undefined` if none can be read. */
export function readQrCode(picture: Picture): string | undefined {
  try {
    return decodeQR(picture);
  } catch {
    // The library says so of each picture without a code.
    return undefined;
  }
}
