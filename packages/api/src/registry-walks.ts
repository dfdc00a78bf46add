/**
 * Walks through all nodes. A registry may have a million: a walk works in slices, so that other
 * requests are answered in between, and walks take turns, since two at once finish no sooner.
 */

import { setImmediate as yieldToOthers } from 'node:timers/promises';
import type { Steps } from '@latchkey/operations';
import type { NodeInfo, Registry } from '@latchkey/registry';
import { Problem } from './problem.js';

/** Work at a time, in ms. */
const TIME_SLICE_MS = 5;
/** Steps between two looks at the clock. */
const STEPS_PER_CHECK = 64;
/** Walks that wait for their turn. At the bound a request is answered 503. */
const MAX_WAITING = 32;
const RETRY_AFTER_S = 5;

export class RegistryWalks {
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Calls `visit` with each node from `from` on, in ascending order of ID, until it returns false.
   *
   * @throws Problem if too many walks wait; the reason of `signal` once that is aborted
   */
  async nodes(registry: Registry, from: number, visit: (node: NodeInfo) => boolean, signal: AbortSignal): Promise<void> {
    await this.run(visitNodes(registry, from, visit), signal);
  }

  /**
   * Does the work in slices of time.
   *
   * @throws as `nodes`
   */
  async run<T>(steps: Steps<T>, signal: AbortSignal): Promise<T> {
    return this.#takeTurn(async () => {
      let sliceEnd = performance.now() + TIME_SLICE_MS;
      for (let count = 1; ; count++) {
        const { done, value } = steps.next();
        if (done === true) return value;
        if (count % STEPS_PER_CHECK !== 0 || performance.now() < sliceEnd) continue;
        await yieldToOthers();
        signal.throwIfAborted();
        sliceEnd = performance.now() + TIME_SLICE_MS;
      }
    }, signal);
  }

  async #takeTurn<T>(walk: () => Promise<T>, signal: AbortSignal): Promise<T> {
    if (this.#waiting >= MAX_WAITING) throw new Problem('busy', { retryAfter: RETRY_AFTER_S });
    this.#waiting += 1;
    const turn = this.#last.then(() => {
      signal.throwIfAborted();
      return walk();
    });
    this.#last = turn.catch(() => undefined);
    try {
      return await turn;
    } finally {
      this.#waiting -= 1;
    }
  }
}

function* visitNodes(registry: Registry, from: number, visit: (node: NodeInfo) => boolean): Steps<void> {
  for (const node of registry.nodes(from)) {
    if (!visit(node)) return;
    yield;
  }
}
