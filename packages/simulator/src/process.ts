/**
 * A program that runs on some machine, and may be killed between any two of its actions. All that a shell does after waiting for something
 * is a step of its process; a process that was killed takes no more steps, and the next run starts from the disk.
 */

import { hashText } from './chance.js';
import type { Ground } from './ground.js';

/** `killed`: the system goes on, and with it what was written. `power lost`: what was not synced may be gone. */
export type Death = 'killed' | 'power lost';

export interface Mortality {
  /** That a step is the last, for each step. */
  readonly perStep: number;
  /** Steps so called are fatal with this probability instead. */
  readonly focus: { readonly step: string; readonly probability: number } | undefined;
  /** That power is lost with it. */
  readonly power: number;
  /** How long it stays down, in ms. */
  readonly down: readonly [from: number, to: number];
}

export class Process {
  readonly name: string;
  readonly ground: Ground;
  readonly #mortality: Mortality;
  readonly #stream: number;
  readonly #start: () => void;
  readonly #died: (death: Death) => void;
  #run = 0;
  #steps = 0;
  #up = false;
  #stopped = false;
  #startedAt = 0;
  #asleepUntil = 0;
  /** Which start is awaited: a later one takes its place. */
  #awaited = 0;
  /** How long the machine has slept since the world began, in ms; a sleep under way counts whole. */
  #slept = 0;
  #sleptBefore = 0;

  constructor(ground: Ground, name: string, mortality: Mortality, start: () => void, died: (death: Death) => void) {
    this.ground = ground;
    this.name = name;
    this.#mortality = mortality;
    this.#stream = hashText(`${name} steps`);
    this.#start = start;
    this.#died = died;
  }

  get up(): boolean {
    return this.#up;
  }

  /** Which run this is, from 1. */
  get run(): number {
    return this.#run;
  }

  /** The monotonic clock: ms since this run began, sleep left out. */
  get steady(): number {
    return this.ground.now - this.#startedAt - (this.#slept - this.#sleptBefore);
  }

  /** Ends this run, and lets no other begin before `release`. */
  stop(): void {
    this.#stopped = true;
    this.die('killed', 0);
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
    this.#startedAt = this.ground.now;
    this.#sleptBefore = this.#slept;
    this.ground.note(this.name, 'starts');
    this.#start();
  }

  /** Takes `action` as a step, `ms` from now by the monotonic clock. */
  after(ms: number, step: string, action: () => void): void {
    const run = this.#run;
    const slept = this.#slept;
    this.ground.timeline.after(ms, () => this.#take(run, step, action, slept));
  }

  /** Hands in something from outside, now or as soon as the machine is awake. */
  receive(step: string, action: () => void): void {
    if (!this.#up) return;
    const run = this.#run;
    if (this.ground.now >= this.#asleepUntil) return this.#take(run, step, action, this.#slept);
    this.ground.timeline.after(this.#asleepUntil - this.ground.now, () => this.#take(run, step, action, this.#slept));
  }

  /** The machine is suspended: its monotonic clock stands still, datagrams wait in the socket. */
  sleep(ms: number): void {
    if (!this.#up || this.ground.now < this.#asleepUntil) return;
    this.ground.note(this.name, `its machine sleeps for ${ms} ms`);
    this.#asleepUntil = this.ground.now + ms;
    this.#slept += ms;
  }

  /** Ends this run; the next begins after `downMs`. */
  die(death: Death, downMs: number): void {
    if (!this.#up) return;
    this.#up = false;
    this.#asleepUntil = this.ground.now;
    this.ground.note(this.name, death);
    this.#died(death);
    this.#startAfter(downMs);
  }

  /**
   * The power of the machine is cut, whether this program runs or not; it starts with the machine.
   */
  losePower(offMs: number): void {
    if (this.#up) return this.die('power lost', offMs);
    this.ground.note(this.name, 'power lost');
    this.#died('power lost');
    this.#startAfter(offMs);
  }

  #startAfter(ms: number): void {
    this.#awaited += 1;
    const awaited = this.#awaited;
    this.ground.timeline.after(ms, () => {
      if (this.#awaited === awaited) this.start();
    });
  }

  #take(run: number, step: string, action: () => void, slept: number): void {
    if (!this.#up || this.#run !== run) return;
    // A timer that was set before the machine slept has that much longer to go.
    const missing = this.#slept - slept;
    if (missing > 0) {
      const now = this.#slept;
      this.ground.timeline.after(missing, () => this.#take(run, step, action, now));
      return;
    }
    if (!this.#isFatal(step)) action();
  }

  #isFatal(step: string): boolean {
    const { perStep, focus, power, down } = this.#mortality;
    const { faults } = this.ground;
    const count = this.#steps++;
    if (!faults.dice(this.#stream, count, focus?.step === step ? focus.probability : perStep)) return false;
    const chance = faults.chance(`${this.name} step ${count}`);
    const death: Death = chance.uniform() < power ? 'power lost' : 'killed';
    if (!faults.strikes(`${this.name} step ${count} ${death} before: ${step}`)) return false;
    this.ground.note(this.name, `does not come to: ${step}`);
    this.die(death, chance.between(...down));
    return true;
  }
}
