/**
 * Controllers with their keys open, as long as the registry has them so: each request needs SK_cs, and to open it takes as long as to
 * open the request. They are in memory as the master key is that opens them. What is replaced is wiped once no request uses it.
 */

import type { Registry } from './registry.js';
import type { ControllerRecord, ControllerRow } from './rows.js';

/** At the bound all go. */
const MAX_KEPT = 256;

interface Kept {
  readonly row: ControllerRow;
  readonly record: ControllerRecord;
}

export class KeptControllers {
  readonly #registry: Registry;
  readonly #kept = new Map<number, Kept>();
  #retired: Kept[] = [];
  #inUse = 0;

  constructor(registry: Registry) {
    this.#registry = registry;
  }

  /** Hands `use` the controller as it is now. Its keys are not to be kept beyond that. */
  async with<T>(idC: number, use: (controller: ControllerRecord | undefined) => Promise<T>): Promise<T> {
    this.#inUse += 1;
    try {
      return await use(this.#controller(idC));
    } finally {
      this.#inUse -= 1;
      if (this.#inUse === 0) this.#wipeRetired();
    }
  }

  /** Wipes all of them, once nothing uses them any more. */
  close(): void {
    this.#retireAll();
    if (this.#inUse === 0) this.#wipeRetired();
  }

  #controller(idC: number): ControllerRecord | undefined {
    const row = this.#registry.controllerRow(idC);
    const kept = this.#kept.get(idC);
    if (kept !== undefined && kept.row === row) return kept.record;
    if (kept !== undefined) {
      this.#kept.delete(idC);
      this.#retired.push(kept);
    }
    if (row === undefined) return undefined;
    if (this.#kept.size >= MAX_KEPT) this.#retireAll();
    const record = this.#registry.openController(idC, row);
    this.#kept.set(idC, { row, record });
    return record;
  }

  #retireAll(): void {
    this.#retired.push(...this.#kept.values());
    this.#kept.clear();
  }

  #wipeRetired(): void {
    for (const { record } of this.#retired) {
      record.skCs.wipe();
      record.nextSkCs?.wipe();
    }
    this.#retired = [];
  }
}
