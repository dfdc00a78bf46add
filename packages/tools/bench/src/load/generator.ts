/** A load generator, seen from the process that measures. */

import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { LoadTarget, LoadProfile, LoadResult } from './load-profile.js';

export class LoadGenerator {
  readonly #child: ChildProcess;

  private constructor(child: ChildProcess) {
    this.#child = child;
  }

  static async start(target: LoadTarget): Promise<LoadGenerator> {
    // From src/ under vitest as from dist/.
    const path = fileURLToPath(new URL('../../dist/load/main.js', import.meta.url));
    const child = fork(path, [JSON.stringify(target)], { execArgv: ['--max-semi-space-size=32'] });
    const generator = new LoadGenerator(child);
    await generator.#nextMessage();
    return generator;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  async play(plan: LoadProfile): Promise<LoadResult> {
    const answer = this.#nextMessage();
    this.#child.send(plan);
    return (await answer) as LoadResult;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.disconnect();
    await gone;
  }

  async #nextMessage(): Promise<unknown> {
    const ended = new AbortController();
    try {
      const exit = once(this.#child, 'exit', { signal: ended.signal }).then(() => {
        throw new Error('the load generator ended');
      });
      const [message] = (await Promise.race([once(this.#child, 'message', { signal: ended.signal }), exit])) as [unknown];
      return message;
    } finally {
      ended.abort();
    }
  }
}
