/**
 * Reads a manufacturer's list of device keys. A message shows the wrong value, but never one of the
 * key's column.
 */

import { parseId } from '@latchkey/protocol';
import { type ManifestReaderOptions, RowReader } from './manifest-reader.js';
import { describeId, type ManifestProblem, readKey, type RowChecker } from './row-validator.js';

const DEVICE_KEY_COLUMNS = ['id', 'device_key'] as const;

interface DeviceKeyRow {
  /** Where the row begins, from 1. */
  readonly line: number;
  readonly idI: number;
  /** DK_i, 16 octets, valid until the next row. */
  readonly deviceKey: Uint8Array;
}

/** Receives the rows of a file in their order. */
export interface DeviceKeyHandler {
  row(row: DeviceKeyRow): void;
  problem(problem: ManifestProblem): void;
}

class DeviceKeyRowChecker implements RowChecker {
  readonly columns: readonly string[] = DEVICE_KEY_COLUMNS;
  readonly #handler: DeviceKeyHandler;
  readonly #deviceKey = Buffer.alloc(16);

  constructor(handler: DeviceKeyHandler) {
    this.#handler = handler;
  }

  take(line: number, [id, deviceKey]: readonly unknown[]): void {
    if (id === '' && deviceKey === '') return;
    const idI = typeof id === 'string' ? parseId(id) : undefined;
    if (idI === undefined) return this.#handler.problem({ line, reason: `id: ${describeId(id)}` });
    const wrong = readKey(deviceKey, this.#deviceKey);
    if (wrong !== undefined) return this.#handler.problem({ line, idI, reason: `device_key: ${wrong}` });
    this.#handler.row({ line, idI, deviceKey: this.#deviceKey });
    this.#deviceKey.fill(0);
  }

  reject(line: number, _: unknown, reason: string): void {
    this.#handler.problem({ line, reason });
  }
}

/** Takes a file of device keys piece by piece. */
export class DeviceKeyReader extends RowReader {
  constructor(options: ManifestReaderOptions, handler: DeviceKeyHandler) {
    super(options, handler, new DeviceKeyRowChecker(handler));
  }
}
