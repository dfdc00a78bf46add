/**
 * What people do in several steps: each begins when the one before is done, and so many ms have
 * passed. Once faults have ended they hurry, so that nothing is left half done.
 */

import type { EventQueue } from './event-queue.js';

/** Calls `done` once it is done. */
export type Step = (done: () => void) => void;

export class Procedures {
  readonly #timeline: EventQueue;
  /** Of each that is under way: how it goes on, if it waits for time to pass. */
  readonly #underWay = new Map<string, (() => void) | undefined>();
  #hurried = false;

  constructor(timeline: EventQueue) {
    this.#timeline = timeline;
  }

  get underWay(): number {
    return this.#underWay.size;
  }

  isUnderWay(name: string): boolean {
    return this.#underWay.has(name);
  }

  /** The first step is taken at once. */
  begin(name: string, steps: readonly Step[], gapMs: number): void {
    const [first, ...rest] = steps;
    this.#underWay.set(name, undefined);
    if (first === undefined) {
      this.#underWay.delete(name);
      return;
    }
    first(() => this.#wait(name, rest, gapMs));
  }

  hurry(): void {
    this.#hurried = true;
    for (const goOn of this.#underWay.values()) goOn?.();
  }

  #wait(name: string, steps: readonly Step[], gapMs: number): void {
    let waits = true;
    const goOn = (): void => {
      if (!waits) return;
      waits = false;
      this.begin(name, steps, gapMs);
    };
    if (this.#hurried || steps.length === 0) return goOn();
    this.#underWay.set(name, goOn);
    this.#timeline.schedule(gapMs, goOn);
  }
}
