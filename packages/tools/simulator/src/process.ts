/**
 * A program that runs on some machine, and may be killed between any two of its actions. All that a
 * shell does after waiting for something is a step of its process; a process that was killed takes
 * no more steps, and the next run starts from the disk.
 */

import type { ProcessTime } from '@latchkey/runtime/daemon';
import { hashText } from '@latchkey/test-support/seeded-random';
import type { Simulation } from './simulation.js';

/**
 * `killed`: the system continues, and writes survive. `power lost`: unsynced writes may be lost.
 */
export type CrashKind = 'killed' | 'power lost';

export interface CrashModel {
  /** That a step is the last, for each step. */
  readonly probabilityPerStep: number;
  /** Steps so called are fatal with this probability instead. */
  readonly hotStep: { readonly step: string; readonly probability: number } | undefined;
  /** That power is lost with it. */
  readonly powerLossProbability: number;
  /** How long it stays down, in ms. */
  readonly downtimeMs: readonly [from: number, to: number];
}

export class Process {
  readonly name: string;
  readonly simulation: Simulation;
  readonly #crashModel: CrashModel;
  readonly #stream: number;
  readonly #start: () => void;
  readonly #onCrash: (kind: CrashKind) => void;
  #run = 0;
  #steps = 0;
  #up = false;
  #stopped = false;
  #startedAt = 0;
  #suspendedUntil = 0;
  /** Which start is awaited: a later one takes its place. */
  #awaited = 0;
  /**
   * How long the machine has slept since the world began, in ms; a sleep under way counts whole.
   */
  #suspendedMs = 0;
  #suspendedMsAtStart = 0;

  constructor(
    simulation: Simulation,
    name: string,
    crashModel: CrashModel,
    start: () => void,
    onCrash: (kind: CrashKind) => void,
  ) {
    this.simulation = simulation;
    this.name = name;
    this.#crashModel = crashModel;
    this.#stream = hashText(`${name} steps`);
    this.#start = start;
    this.#onCrash = onCrash;
  }

  get up(): boolean {
    return this.#up;
  }

  /** Which run this is, from 1. */
  get run(): number {
    return this.#run;
  }

  /** The monotonic clock: ms since this run began, sleep left out. */
  get monotonicMs(): number {
    return this.simulation.now - this.#startedAt - (this.#suspendedMs - this.#suspendedMsAtStart);
  }

  /** Ends this run, and lets no other begin before `release`. */
  stop(): void {
    this.#stopped = true;
    this.crash('killed', 0);
  }

  /** Begins a run, after `stop`. */
  release(): void {
    this.#stopped = false;
    this.start();
  }

  start(): void {
    if (this.#up || this.#stopped) return;
    this.#run += 1;
    this.#up = true;
    this.#startedAt = this.simulation.now;
    this.#suspendedMsAtStart = this.#suspendedMs;
    this.simulation.record(this.name, 'starts');
    this.#start();
  }

  /** Takes `action` as a step, `ms` from now by the monotonic clock. */
  schedule(ms: number, step: string, action: () => void): void {
    const run = this.#run;
    const suspendedMs = this.#suspendedMs;
    this.simulation.events.schedule(ms, () => this.#runStep(run, step, action, suspendedMs));
  }

  /** This process's time, as the daemons take it: each pause ends with a step so called. */
  time(step: string): ProcessTime {
    return {
      now: () => this.monotonicMs,
      pause: (ms, signal) =>
        new Promise((resolve) => {
          const end = (): void => {
            signal.removeEventListener('abort', end);
            this.simulation.unsettled();
            resolve();
          };
          signal.addEventListener('abort', end);
          this.schedule(ms, step, end);
        }),
    };
  }

  /** Resolves with a step so called, `ms` from now. */
  pause(ms: number, step: string): Promise<void> {
    return new Promise((resolve) => {
      this.schedule(ms, step, () => {
        this.simulation.unsettled();
        resolve();
      });
    });
  }

  /** Hands in something from outside, now or as soon as the machine is awake. */
  receive(step: string, action: () => void): void {
    if (!this.#up) return;
    const run = this.#run;
    if (this.simulation.now >= this.#suspendedUntil) return this.#runStep(run, step, action, this.#suspendedMs);
    this.simulation.events.schedule(this.#suspendedUntil - this.simulation.now, () =>
      this.#runStep(run, step, action, this.#suspendedMs),
    );
  }

  /** The machine is suspended: its monotonic clock stands still, datagrams wait in the socket. */
  suspend(ms: number): void {
    if (!this.#up || this.simulation.now < this.#suspendedUntil) return;
    this.simulation.record(this.name, `its machine sleeps for ${ms} ms`);
    this.#suspendedUntil = this.simulation.now + ms;
    this.#suspendedMs += ms;
  }

  /** Ends this run; the next begins after `downMs`. */
  crash(kind: CrashKind, downMs: number): void {
    if (!this.#up) return;
    this.#up = false;
    this.#suspendedUntil = this.simulation.now;
    this.simulation.record(this.name, kind);
    this.#onCrash(kind);
    this.#startAfter(downMs);
  }

  /**
   * The power of the machine is cut, whether this program runs or not; it starts with the machine.
   */
  losePower(offMs: number): void {
    if (this.#up) return this.crash('power lost', offMs);
    this.simulation.record(this.name, 'power lost');
    this.#onCrash('power lost');
    this.#startAfter(offMs);
  }

  #startAfter(ms: number): void {
    this.#awaited += 1;
    const awaited = this.#awaited;
    this.simulation.events.schedule(ms, () => {
      if (this.#awaited === awaited) this.start();
    });
  }

  #runStep(run: number, step: string, action: () => void, suspendedMs: number): void {
    if (!this.#up || this.#run !== run) return;
    // A timer that was set before the machine slept has that much longer to go.
    const missing = this.#suspendedMs - suspendedMs;
    if (missing > 0) {
      const now = this.#suspendedMs;
      this.simulation.events.schedule(missing, () => this.#runStep(run, step, action, now));
      return;
    }
    if (!this.#mayCrash(step)) action();
  }

  #mayCrash(step: string): boolean {
    const { probabilityPerStep, hotStep, powerLossProbability, downtimeMs } = this.#crashModel;
    const { faults } = this.simulation;
    const count = this.#steps++;
    if (!faults.roll(this.#stream, count, hotStep?.step === step ? hotStep.probability : probabilityPerStep)) return false;
    const random = faults.random(`${this.name} step ${count}`);
    const kind: CrashKind = random.uniform() < powerLossProbability ? 'power lost' : 'killed';
    if (!faults.trigger(`${this.name} step ${count} ${kind} before: ${step}`)) return false;
    this.simulation.record(this.name, `does not come to: ${step}`);
    this.crash(kind, random.between(...downtimeMs));
    return true;
  }
}
