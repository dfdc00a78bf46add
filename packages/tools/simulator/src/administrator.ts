/**
 * What an administrator changes in the registry: each change in one transaction, with the time of
 * the servers in it. Mirrors `administration.ts`, `enrolment.ts`, `recent-initial-keys.ts` and
 * `backup.ts` of packages/operations and packages/registry. A node has one initial key here,
 * whatever is done to it.
 */

import { MAX_SERVER_CLOCK_SKEW_MS, INITIAL_KEY_RETENTION_MS, type Clocks, addRange } from '@latchkey/protocol';
import { serverTime } from '@latchkey/runtime/daemon';
import type { RegistryRow, Snapshot, SimulatedStore } from './store.js';

export class Administrator {
  protected readonly store: SimulatedStore;
  readonly #clock: () => Clocks;

  /** @param clock of the machine where the commands run */
  constructor(store: SimulatedStore, clock: () => Clocks) {
    this.store = store;
    this.#clock = clock;
  }

  protected get now(): number {
    return serverTime(this.store.clockHistory, this.#clock());
  }

  /** `node reset`, with the initial key that the node came with. */
  reset(idI: number, ik: string, done: () => void): void {
    this.store.administer(() => {
      const row = this.store.row(idI);
      if (row !== undefined) this.store.put({ ...row, key: ik, initial: true, committed: undefined, reissuedAt: this.now });
      done();
    });
  }

  /** `node remove`. */
  remove(idI: number, done: () => void): void {
    this.store.administer(() => {
      this.store.remove(idI);
      this.store.lastHeld.set(idI, this.now);
      done();
    });
  }

  /** `import` of a node that was removed. */
  add(row: RegistryRow, ik: string, done: () => void): void {
    this.store.administer(() => {
      const reissuedAt = this.hadBefore(row.idI) ? this.now : undefined;
      this.store.put({ ...row, key: ik, initial: true, committed: undefined, reissuedAt });
      done();
    });
  }

  protected hadBefore(idI: number): boolean {
    const until = this.store.lastHeld.get(idI);
    return until !== undefined && Math.abs(this.now - until) <= INITIAL_KEY_RETENTION_MS;
  }

  /** `restore`, while no server runs. The time counts for every node. */
  restore(snapshot: Snapshot): void {
    const at = this.#clock().wallMs;
    const rows = snapshot.rows.map((row) => this.restored(row, at));
    const times = addRange(snapshot.times, { from: Math.min(snapshot.at, at), until: at + MAX_SERVER_CLOCK_SKEW_MS });
    this.store.restore({ ...snapshot, rows, times }, at);
  }

  protected restored(row: RegistryRow, at: number): RegistryRow {
    return { ...row, reissuedAt: at };
  }

  /** `controller set --pass-through`. */
  setPassThrough(idC: number, isPassThrough: boolean): void {
    this.store.administer(() => {
      if (this.store.isPassThrough(idC) !== isPassThrough) this.store.setPassThrough(idC, isPassThrough, this.now);
    });
  }

  /** `backup`. */
  backup(done: (snapshot: Snapshot) => void): void {
    this.store.administer(() => done(this.store.snapshot(this.#clock().wallMs)));
  }
}
