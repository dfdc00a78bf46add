/**
 * The management API inside a daemon: in combined mode, and where a store belongs to one process.
 * Joins go on whatever becomes of it: a start that failed is tried again, later each time.
 */

import type { ApiConfig } from '@latchkey/api/config';
import type { Registry } from '@latchkey/registry';
import type { Daemon, Log } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { findConsole } from './console-folder.js';
import { RestartDelay } from './restart-delay.js';

export interface EmbeddedApiOptions {
  readonly config: ApiConfig;
  /** Of the registry, or of this machine if the registry is in a database. */
  readonly folder: string;
  /** Of the daemon, which closes it after the API. */
  readonly registry: Registry;
  readonly log: Log;
}

export class EmbeddedApi {
  readonly #options: EmbeddedApiOptions;
  readonly #delay = new RestartDelay();
  #timer: NodeJS.Timeout | undefined;
  /** Never rejects. */
  #running: Promise<Daemon | undefined>;

  /** Starts the API at once. */
  constructor(options: EmbeddedApiOptions) {
    this.#options = options;
    this.#running = this.#start();
  }

  /** Finishes pending requests. */
  async stop(): Promise<void> {
    const daemon = await this.#running;
    clearTimeout(this.#timer);
    await daemon?.stop();
  }

  async #start(): Promise<Daemon | undefined> {
    const { log } = this.#options;
    try {
      // Loaded where it serves only: other daemons start without an HTTP stack.
      const { startApi } = await import('@latchkey/api');
      return await startApi({ ...this.#options, consoleFolder: await findConsole() });
    } catch (error) {
      const delayMs = this.#delay.next();
      const { message, advice } = error instanceof Failure ? error : { message: String(error), advice: undefined };
      log.error({ error: message, advice, retryInSeconds: delayMs / 1_000 }, 'the API could not start');
      this.#timer = setTimeout(() => {
        this.#running = this.#start();
      }, delayMs);
      return undefined;
    }
  }
}
