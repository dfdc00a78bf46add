/**
 * The management API as a child process of `run`. Joins go on whatever becomes of it: it is started
 * again, later each time. It ends with its parent, even if that is killed.
 */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Log } from '@latchkey/runtime/daemon';
import { systemCode } from '@latchkey/runtime/failure';
import { RestartDelay } from './restart-delay.js';

/** A process that ran for so long starts with the first delay again, in ms. */
const STABLE_MS = 60_000;
/** Grace period of pending requests after SIGTERM, in ms: less than that of the parent. */
const STOP_TIMEOUT_MS = 8_000;

/** What starts it, and how its failures show. */
export interface ApiProcessOptions {
  /** Of `node`, up to and with the arguments of the command. */
  readonly args: readonly string[];
  readonly log: Log;
}

export class ApiProcess {
  readonly #options: ApiProcessOptions;
  readonly #delay = new RestartDelay();
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;

  /** Starts the process at once. */
  constructor(options: ApiProcessOptions) {
    this.#options = options;
    this.#start();
  }

  /** Ends it, and waits until it has ended. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (child === undefined) return;
    const killer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    const ended = once(child, 'exit');
    child.kill('SIGTERM');
    await ended;
    clearTimeout(killer);
  }

  #start(): void {
    const { args, log } = this.#options;
    const startedAt = performance.now();
    // The channel closes with this process, which ends the child. The child has a separate process
    // group: Ctrl-C reaches this process only, which then stops the child in order.
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc'], detached: true });
    this.#child = child;
    child.on('error', (cause) => {
      // Without a process there is no exit.
      if (child.pid === undefined) this.#restart({ error: systemCode(cause) ?? cause.message }, startedAt);
    });
    child.on('exit', (code, signal) => this.#restart({ code, signal }, startedAt));
    if (child.pid !== undefined) log.info({ pid: child.pid }, 'the API is started');
  }

  #restart(ending: object, startedAt: number): void {
    this.#child = undefined;
    if (this.#isStopping) return;
    if (performance.now() - startedAt >= STABLE_MS) this.#delay.reset();
    const delayMs = this.#delay.next();
    this.#options.log.error({ ...ending, retryInSeconds: delayMs / 1_000 }, 'the API has ended');
    this.#timer = setTimeout(() => this.#start(), delayMs);
  }
}
