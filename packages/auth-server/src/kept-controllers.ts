/**
 * Controllers with their keys open, as long as the registry has them so: each request needs SK_cs, and to open it takes as long as to
 * open the request. They are in memory as the master key is that opens them. What is replaced is wiped once no request uses
 * it: what others do meanwhile does not keep it.
 */

import type { Registry } from './registry.js';
import { type ControllerRecord, type ControllerRow, wipeKeys } from './rows.js';

/** At the bound all go. */
const MAX_KEPT = 256;

interface Kept {
  readonly row: ControllerRow;
  readonly record: ControllerRecord;
  /** Requests that use it now. */
  uses: number;
  /** Handed to no further request: wiped when the last of those is done. */
  retired: boolean;
}

export class KeptControllers {
  readonly #registry: Registry;
  readonly #kept = new Map<number, Kept>();

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Hands `use` the controller as it is now. Its keys are not to be kept beyond that. */
  async with<T>(idC: number, use: (controller: ControllerRecord | undefined) => Promise<T>): Promise<T> {
    const kept = this.#latest(idC);
    if (kept === undefined) return use(undefined);
    kept.uses += 1;
    try {
      return await use(kept.record);
    } finally {
      kept.uses -= 1;
      if (kept.retired && kept.uses === 0) wipeKeys(kept.record);
    }
  }

  /** Wipes each of them, once nothing uses it any more. */
  close(): void {
    for (const kept of this.#kept.values()) retire(kept);
    this.#kept.clear();
  }

  #latest(idC: number): Kept | undefined {
    const row = this.#registry.controllerRow(idC);
    const kept = this.#kept.get(idC);
    if (kept !== undefined) {
      if (kept.row === row) return kept;
      this.#kept.delete(idC);
      retire(kept);
    }
    if (row === undefined) return undefined;
    if (this.#kept.size >= MAX_KEPT) this.close();
    const opened = { row, record: this.#registry.openController(idC, row), uses: 0, retired: false };
    this.#kept.set(idC, opened);
    return opened;
  }
}

function retire(kept: Kept): void {
  kept.retired = true;
  if (kept.uses === 0) wipeKeys(kept.record);
}
