/**
 * The registry that replicas share. Mirrors `Registry` of packages/registry on LMDB: one writer at
 * a time; a transaction is visible to nobody before the disk has it, and takes effect whole or not
 * at all.
 */

import {
  type CommitDecision,
  COMMIT_TIMEOUT_MS,
  type ServerNodeRecord,
  Secret,
  EMPTY_HISTORY,
  type ClockHistory,
} from '@latchkey/protocol';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import type { Simulation } from './simulation.js';
import { keyText } from './key-text.js';
import type { Process } from './process.js';

function later(one: number | undefined, other: number | undefined): number | undefined {
  return one === undefined || (other !== undefined && other > one) ? other : one;
}

/** A node as it stands on the disk: the key in hex digits. */
export interface RegistryRow extends Omit<ServerNodeRecord, 'key' | 'passThrough' | 'switchedAt'> {
  readonly key: string;
}

/** What the record of a node says of its controller. */
export type NodeMode = Pick<ServerNodeRecord, 'passThrough' | 'switchedAt'>;

interface ControllerMode {
  readonly isPassThrough: boolean;
  readonly switchedAt: number | undefined;
}

/** The registry at some moment, by the clock of the machine where that was taken. */
export interface Snapshot {
  readonly at: number;
  readonly rows: readonly RegistryRow[];
  readonly lastHeld: ReadonlyMap<number, number>;
  readonly times: ClockHistory;
  readonly modes: ReadonlyMap<number, ControllerMode>;
}

export type CommitResult = 'committed' | 'conflict' | 'expired' | 'failed';

/** How badly the disk does. */
export interface StoreConditions {
  /** That a transaction is held up, and by how many ms. */
  readonly stallProbability: number;
  readonly stallMs: readonly number[];
  /** That the disk refuses a write. */
  readonly failureProbability: number;
}

/** What a transaction does once it is its turn: the row to be written, or why there is none. */
export type WriteAction = (
  rows: ReadonlyMap<number, RegistryRow>,
  modeOf: (row: RegistryRow) => NodeMode,
) => RegistryRow | Exclude<CommitResult, 'committed' | 'failed'>;

interface Transaction {
  readonly number: number;
  readonly process: Process;
  readonly run: number;
  readonly since: number;
  readonly action: WriteAction;
  readonly done: (result: CommitResult) => void;
  /** What it writes, once it has run. */
  row: RegistryRow | undefined;
  /** How long the disk takes beyond the usual. */
  readonly syncMs: number;
  readonly refused: boolean;
}

export class SimulatedStore {
  readonly #simulation: Simulation;
  readonly #conditions: StoreConditions;
  readonly #rows = new Map<number, RegistryRow>();
  /** All that have not finished, the oldest first. */
  readonly #pending = new Set<Transaction>();
  /** Those that wait for the lock. */
  readonly #queue: Transaction[] = [];
  #writing: Transaction | undefined;
  /** Changes of the administrator that wait for the lock. */
  readonly #changes: (() => void)[] = [];
  #count = 0;
  /** Of controllers that are, or were, pass-through. */
  readonly #modes = new Map<number, ControllerMode>();
  readonly #random: SeededRandom;
  /** TK. */
  #transactionKey: Secret;
  #restoredAt: number | undefined;
  /** Until when IDs that were removed had their initial key. */
  readonly lastHeld: Map<number, number> = new Map();
  /** What the clocks of the servers showed. */
  clockHistory: ClockHistory = EMPTY_HISTORY;
  /** Told of each row that takes effect. */
  onChange: (row: RegistryRow) => void = () => undefined;
  /** And of each that is gone, or is as it was in a backup. */
  removed: (idI: number) => void = () => undefined;
  restored: (row: RegistryRow) => void = () => undefined;

  constructor(simulation: Simulation, conditions: StoreConditions) {
    this.#simulation = simulation;
    this.#conditions = conditions;
    this.#random = simulation.random('transaction keys');
    this.#transactionKey = Secret.from(this.#random.octets(16));
  }

  /** Sees every commit that was acknowledged before the call. */
  node(idI: number): ServerNodeRecord | undefined {
    const row = this.#rows.get(idI);
    return row && this.recordOf(row);
  }

  /** The node with this row, and what its controller is now: as it is in one snapshot. */
  recordOf(row: RegistryRow): ServerNodeRecord {
    return { ...row, key: Secret.fromHex(row.key), ...this.modeOf(row) };
  }

  modeOf({ controller }: RegistryRow): NodeMode {
    const switchedAt = this.#modes.get(controller)?.switchedAt;
    const passThrough = this.isPassThrough(controller) ? { transactionKey: this.#transactionKey } : undefined;
    return { passThrough, switchedAt: later(switchedAt, this.#restoredAt) };
  }

  isPassThrough(idC: number): boolean {
    return this.#modes.get(idC)?.isPassThrough === true;
  }

  /** `switchedAt` by the servers' clock; `undefined` for a controller that is added so. */
  setPassThrough(idC: number, isPassThrough: boolean, switchedAt?: number): void {
    this.#modes.set(idC, { isPassThrough, switchedAt });
  }

  row(idI: number): RegistryRow | undefined {
    return this.#rows.get(idI);
  }

  /** What is being written, which nobody is to see before the disk has it. */
  get unsynced(): RegistryRow | undefined {
    return this.#writing?.row;
  }

  /** The administrator's doing, not a commit. */
  put(row: RegistryRow): void {
    this.#rows.set(row.idI, row);
    this.onChange(row);
  }

  remove(idI: number): void {
    this.#rows.delete(idI);
    this.removed(idI);
  }

  /** Runs a change of the administrator's as soon as nobody writes. */
  administer(change: () => void): void {
    this.#changes.push(change);
    if (this.#writing === undefined) this.#administer();
  }

  #administer(): void {
    for (const change of this.#changes.splice(0)) change();
  }

  snapshot(at: number): Snapshot {
    return {
      at,
      rows: [...this.#rows.values()],
      lastHeld: new Map(this.lastHeld),
      times: this.clockHistory,
      modes: new Map(this.#modes),
    };
  }

  /** While no server runs, so that nothing is pending. `at`: by the clock of who does it. */
  restore({ rows, lastHeld, times, modes }: Snapshot, at: number): void {
    this.#rows.clear();
    this.#modes.clear();
    for (const [idC, mode] of modes) this.#modes.set(idC, mode);
    this.#transactionKey = Secret.from(this.#random.octets(16));
    this.#restoredAt = at;
    this.lastHeld.clear();
    for (const [idI, until] of lastHeld) this.lastHeld.set(idI, until);
    this.clockHistory = times;
    for (const row of rows) {
      this.#rows.set(row.idI, row);
      this.restored(row);
    }
  }

  /**
   * Runs `action` in one durable transaction of `process`; `done` is told when the disk has it. It
   * may have to wait before it gets to the lock, so that another overtakes it.
   */
  transact(process: Process, action: WriteAction, done: (result: CommitResult) => void): void {
    this.#count += 1;
    const number = this.#count;
    const { ground: simulation, weather: conditions } = { ground: this.#simulation, weather: this.#conditions };
    const { faults, events } = simulation;
    const random = faults.random(`w${number}`);
    const stall = (name: string): number => {
      const [unlucky, ms] = [random.uniform() < conditions.stallProbability, random.pick(conditions.stallMs)];
      return unlucky && faults.trigger(`w${number} ${name} ${ms} ms`) ? ms : 0;
    };
    const wait = stall('waits');
    const transaction: Transaction = {
      number,
      process,
      run: process.run,
      since: process.monotonicMs,
      action,
      done,
      row: undefined,
      syncMs: stall('syncs'),
      refused: random.uniform() < conditions.failureProbability && faults.trigger(`w${number} refused by the disk`),
    };
    simulation.record(process.name, `commits (write ${number})`);
    this.#pending.add(transaction);
    events.schedule(wait, () => {
      if (!this.#pending.has(transaction)) return;
      this.#queue.push(transaction);
      this.#next();
    });
  }

  /** Since when the oldest commit of `process` has not finished, by its monotonic clock. */
  oldestTransactionOf(process: Process): number | undefined {
    for (const transaction of this.#pending) if (transaction.process === process) return transaction.since;
    return undefined;
  }

  /**
   * A process is gone: what it had not begun to write never will be; of what it was writing the
   * disk has all or nothing.
   */
  abandon(process: Process): void {
    const { faults } = this.#simulation;
    for (const transaction of this.#pending) {
      if (transaction.process !== process) continue;
      this.#pending.delete(transaction);
      const { number, row } = transaction;
      if (row !== undefined && faults.random(`w${number} left`).below(2) === 0 && faults.trigger(`w${number} reaches the disk`))
        this.#takeEffect(transaction, row);
      if (this.#writing === transaction) this.#writing = undefined;
    }
    if (this.#writing === undefined) this.#administer();
    this.#next();
  }

  #next(): void {
    while (this.#writing === undefined) {
      const transaction = this.#queue.shift();
      if (transaction === undefined) return;
      if (!this.#pending.has(transaction)) continue;
      this.#writing = transaction;
      this.#simulation.events.schedule(1, () => {
        if (this.#writing === transaction) this.#run(transaction);
      });
    }
  }

  #run(transaction: Transaction): void {
    const result = transaction.refused ? 'failed' : transaction.action(this.#rows, (row) => this.modeOf(row));
    if (typeof result === 'string') return this.#finish(transaction, result);
    transaction.row = result;
    this.#simulation.events.schedule(1 + transaction.syncMs, () => {
      if (this.#writing !== transaction) return;
      this.#takeEffect(transaction, result);
      this.#finish(transaction, 'committed');
    });
  }

  #takeEffect({ number, process }: Transaction, row: RegistryRow): void {
    this.#simulation.record(process.name, `write ${number} is on the disk`);
    this.#rows.set(row.idI, row);
    this.onChange(row);
  }

  #finish(transaction: Transaction, result: CommitResult): void {
    const { process, run, done } = transaction;
    this.#writing = undefined;
    this.#pending.delete(transaction);
    this.#administer();
    if (process.run === run) process.receive('learns how its commit ended', () => done(result));
    this.#next();
  }
}

/**
 * A commit that was judged: by which key, `reissuedAt` and mode of the controller it is compared
 * when it is written.
 */
export interface JudgedCommit extends CommitDecision {
  readonly reissuedAt: number | undefined;
  readonly mode: NodeMode;
}

/** The comparison and the write of a commit, as `Registry.commit` makes them. */
export function commitAction(
  idI: number,
  { from, to, commit, reissuedAt, mode }: JudgedCommit,
  monotonicNow: () => number,
  isInTime: () => boolean,
): WriteAction {
  const since = monotonicNow();
  const [before, after] = [keyText(from), keyText(to)];
  return (rows, modeOf) => {
    if (monotonicNow() - since > COMMIT_TIMEOUT_MS || !isInTime()) return 'expired';
    const row = rows.get(idI);
    if (row === undefined || row.key !== before || row.reissuedAt !== reissuedAt) return 'conflict';
    const { passThrough, switchedAt } = modeOf(row);
    if ((passThrough === undefined) !== (mode.passThrough === undefined) || switchedAt !== mode.switchedAt) return 'conflict';
    return { ...row, key: after, initial: false, committed: commit, reissuedAt: undefined };
  };
}
