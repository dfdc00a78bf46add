import type { CoapCode } from '@latchkey/protocol';

/** An answer on the link under its CoAP code, or a bare code without an M9. */
export interface LinkAnswer {
  readonly code: CoapCode;
  readonly payload?: Uint8Array | undefined;
  readonly maxAge?: number | undefined;
}
