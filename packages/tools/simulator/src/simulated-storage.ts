/** The disk of the registry: the order of writes, their duration, and the state after a crash. */

import { type Decide, type Keys, MemoryStorage, type MemoryDatabase, type Outcome, Unavailable } from '@latchkey/registry/memory';
import type { Process } from './process.js';
import type { Simulation } from './simulation.js';

/** How badly the disk does. */
export interface StoreConditions {
  /** That a commit is held up, and by how many ms. */
  readonly stallProbability: number;
  readonly stallMs: readonly number[];
  /** That the disk refuses a commit. */
  readonly failureProbability: number;
}

/** What a write touches: nothing, values of the registry only, or rows and the audit log. */
export type Writes = 'nothing' | 'metadata' | 'log';

/** A write, as the engine does it. */
interface Work {
  /** Whether it is of a node: only such are held up and refused, and all wait for them. */
  readonly isCommit: boolean;
  /** Decides on the current state, possibly more than once. Throws if nothing must be written. */
  readonly decide: () => Writes;
  readonly takeEffect: () => void;
  /** What was decided never takes effect. */
  readonly lost: () => void;
  readonly done: (failure?: unknown) => void;
}

interface Trouble {
  /** Before it gets to the lock, in ms. */
  readonly wait: number;
  /** How long the disk takes beyond the usual. */
  readonly syncMs: number;
  readonly isRefused: boolean;
}

const NO_TROUBLE: Trouble = { wait: 0, syncMs: 0, isRefused: false };

interface PendingWrite extends Work, Omit<Trouble, 'wait'> {
  readonly name: string;
  /** `undefined`: an administrator's command. */
  readonly process: Process | undefined;
  readonly run: number | undefined;
  readonly since: number;
  isDecided: boolean;
}

/** One writer at a time; a write takes effect when the disk has it. */
export class WriteQueue {
  readonly #simulation: Simulation;
  readonly #conditions: StoreConditions;
  /** All that have not finished, the oldest first. */
  readonly #pending = new Set<PendingWrite>();
  /** Those that wait for the lock. */
  readonly #waiting: PendingWrite[] = [];
  #writing: PendingWrite | undefined;
  /** What waits for a moment in which nothing is being written, and whose it is. */
  #whenFree: { readonly process: Process | undefined; readonly action: () => void }[] = [];
  #commits = 0;
  #others = 0;

  constructor(simulation: Simulation, conditions: StoreConditions) {
    this.#simulation = simulation;
    this.#conditions = conditions;
  }

  /**
   * Writes for `process`, or for an administrator. It may have to wait before it gets to the lock,
   * so that another overtakes it.
   */
  write(process: Process | undefined, work: Work): void {
    const { events } = this.#simulation;
    const isFaulty = work.isCommit && process !== undefined;
    const name = isFaulty ? `w${(this.#commits += 1)}` : `v${(this.#others += 1)}`;
    const { wait, syncMs, isRefused } = isFaulty ? this.#trouble(name) : NO_TROUBLE;
    const since = process?.monotonicMs ?? 0;
    const write: PendingWrite = { ...work, name, process, run: process?.run, since, syncMs, isRefused, isDecided: false };
    if (isFaulty) this.#simulation.record(process.name, `commits (${name})`);
    this.#pending.add(write);
    events.schedule(wait, () => {
      if (!this.#pending.has(write) || (!isFaulty && this.#isWrittenAtOnce(write))) return;
      this.#waiting.push(write);
      this.#next();
    });
  }

  /**
   * Writes without an audit entry wait for no other write: in a database they lock one row only. A
   * server's clock is therefore stored while a commit hangs.
   */
  #isWrittenAtOnce(write: PendingWrite): boolean {
    try {
      if (write.decide() === 'log') return false;
    } catch {
      return false;
    }
    write.takeEffect();
    this.#finish(write);
    return true;
  }

  /** What befalls a commit. */
  #trouble(name: string): Trouble {
    const { stallProbability, stallMs, failureProbability } = this.#conditions;
    const { faults } = this.#simulation;
    const random = faults.random(name);
    const stall = (what: string): number => {
      const [unlucky, ms] = [random.uniform() < stallProbability, random.pick(stallMs)];
      return unlucky && faults.trigger(`${name} ${what} ${ms} ms`) ? ms : 0;
    };
    const [wait, syncMs] = [stall('waits'), stall('syncs')];
    return { wait, syncMs, isRefused: random.uniform() < failureProbability && faults.trigger(`${name} refused by the disk`) };
  }

  /** Since when the oldest write of `process` has not finished, by its monotonic clock. */
  oldestOf(process: Process): number | undefined {
    for (const write of this.#pending) if (write.process === process) return write.since;
    return undefined;
  }

  /** Acts for `process` now, or as soon as nothing is being written. */
  whenFree(process: Process | undefined, action: () => void): void {
    this.#whenFree.push({ process, action });
    if (this.#writing === undefined) this.#free();
  }

  /**
   * A process ended. Its writes that were not decided never happen. A decided write reaches the
   * disk as a whole or not at all. The administrator's (`undefined`) never does.
   */
  abandon(process: Process | undefined): void {
    const { faults } = this.#simulation;
    this.#whenFree = this.#whenFree.filter((waiting) => waiting.process !== process);
    for (const write of this.#pending) {
      if (write.process !== process) continue;
      this.#pending.delete(write);
      const { name, isDecided } = write;
      if (isDecided) {
        const reaches = process !== undefined && faults.random(`${name} left`).below(2) === 0;
        if (reaches && faults.trigger(`${name} reaches the disk`)) this.#takeEffect(write);
        else write.lost();
      }
      if (this.#writing === write) this.#writing = undefined;
    }
    if (this.#writing === undefined) this.#free();
    this.#next();
  }

  #free(): void {
    for (const { action } of this.#whenFree.splice(0)) action();
  }

  #next(): void {
    while (this.#writing === undefined) {
      const write = this.#waiting.shift();
      if (write === undefined) return;
      if (!this.#pending.has(write)) continue;
      this.#writing = write;
      this.#simulation.events.schedule(1, () => {
        if (this.#writing === write) this.#decide(write);
      });
    }
  }

  #decide(write: PendingWrite): void {
    if (write.isRefused)
      return this.#finish(write, new Unavailable('the disk refuses the write', { advice: 'Look at the disk.' }));
    try {
      if (write.decide() === 'nothing') return this.#finish(write);
    } catch (error) {
      return this.#finish(write, error);
    }
    write.isDecided = true;
    this.#simulation.events.schedule(1 + write.syncMs, () => {
      if (this.#writing !== write) return;
      this.#takeEffect(write);
      this.#finish(write);
    });
  }

  #takeEffect({ name, process, isCommit, takeEffect }: PendingWrite): void {
    if (isCommit && process !== undefined) this.#simulation.record(process.name, `${name} is on the disk`);
    takeEffect();
  }

  #finish(write: PendingWrite, failure?: unknown): void {
    const { process, run, isCommit, done } = write;
    if (this.#writing === write) this.#writing = undefined;
    this.#pending.delete(write);
    if (this.#writing === undefined) this.#free();
    const settle = (): void => {
      this.#simulation.unsettled();
      done(failure);
    };
    if (process === undefined) settle();
    else if (process.run === run) process.receive(isCommit ? 'learns how its commit ended' : 'goes on after a write', settle);
    this.#next();
  }
}

/** The engine in memory, whose writes wait for the disk. */
export class SimulatedStorage extends MemoryStorage {
  protected readonly database: MemoryDatabase;
  readonly #queue: WriteQueue;
  readonly #process: Process | undefined;
  readonly #nodesChanged: (ids: readonly number[]) => void;

  /** @param nodesChanged told of the nodes of each write that takes effect */
  constructor(
    database: MemoryDatabase,
    queue: WriteQueue,
    process: Process | undefined,
    nodesChanged: (ids: readonly number[]) => void,
  ) {
    super(database);
    this.database = database;
    this.#queue = queue;
    this.#process = process;
    this.#nodesChanged = nodesChanged;
  }

  override write<T>(keys: Keys, decide: Decide<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      let outcome: Outcome<T> | undefined;
      const decided = (): Outcome<T> => {
        if (outcome === undefined) throw new Error('what takes effect was not decided');
        return outcome;
      };
      this.#queue.write(this.#process, {
        isCommit: keys.nodes !== undefined,
        decide: () => {
          outcome = decide(this.read(keys));
          return this.decided(keys, outcome);
        },
        lost: () => this.lost(),
        takeEffect: () => this.takeEffect(keys, decided()),
        done: (failure) => {
          if (failure === undefined) resolve(decided().result);
          else reject(failure instanceof Error ? failure : new Error('a write fails'));
        },
      });
    });
  }

  protected decided(_: Keys, { events, put, remove }: Outcome<unknown>): Writes {
    if (events !== undefined || put?.nodes !== undefined || remove !== undefined) return 'log';
    return put === undefined ? 'nothing' : 'metadata';
  }

  /** A write that was decided never gets to the disk. */
  protected lost(): void {
    // Nobody has seen anything of it.
  }

  protected takeEffect(keys: Keys, outcome: Outcome<unknown>): void {
    void super.write(keys, () => outcome);
    this.#nodesChanged([...(outcome.put?.nodes ?? []).map(([idI]) => idI), ...(outcome.remove?.nodes ?? [])]);
  }

  /** Not between a decision and its effect, which would undo it. */
  override recordActivity(batch: Parameters<MemoryStorage['recordActivity']>[0]): Promise<void> {
    this.#queue.whenFree(this.#process, () => void super.recordActivity(batch));
    return Promise.resolve();
  }
}
