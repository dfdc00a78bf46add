/**
 * Notifications of a daemon that systemd started with Type=notify: sd_notify(3). Without systemd
 * nothing is sent, and nothing is loaded.
 */

import { setTimeout as pause } from 'node:timers/promises';
import { Failure } from '../failure.js';
import type { Readiness } from '../telemetry/http/readiness.js';
import type { Log } from './log.js';
import { type NotifySocket, openNotifySocket } from './notify-socket.js';

/** Update interval of the status line if no watchdog needs a shorter one, in ms. */
const STATUS_INTERVAL_MS = 30_000;

export class SystemdNotifier {
  readonly #socket: NotifySocket | undefined;
  /** Between two signs of life, in ms; `undefined`: none are asked for. */
  readonly #watchdogIntervalMs: number | undefined;
  readonly #log: Log;
  readonly #stopping = new AbortController();

  private constructor(socket: NotifySocket | undefined, watchdogIntervalMs: number | undefined, log: Log) {
    this.#socket = socket;
    this.#watchdogIntervalMs = watchdogIntervalMs;
    this.#log = log;
  }

  /** From the environment, which children then no longer have: they are not the service. */
  static fromEnvironment(log: Log): SystemdNotifier {
    const { NOTIFY_SOCKET: name, WATCHDOG_USEC: usec, WATCHDOG_PID: pid } = process.env;
    for (const variable of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete process.env[variable];
    const forUs = pid === undefined || Number(pid) === process.pid;
    const watchdogMs = forUs && Number(usec) > 0 ? Number(usec) / 1000 : undefined;
    try {
      const socket = name === undefined || name === '' ? undefined : openNotifySocket(name);
      return new SystemdNotifier(socket, watchdogMs && watchdogMs / 2, log);
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      log.error({ advice: error.advice }, error.message);
      return new SystemdNotifier(undefined, undefined, log);
    }
  }

  /**
   * The daemon serves. From here on its status is sent, and watchdog notifications while its event
   * loop runs and its stores answer.
   */
  ready(readiness: Readiness): void {
    this.#notify('READY=1');
    if (this.#socket !== undefined) void this.#runWatchdog(readiness);
  }

  /** Reports the begin and the end of a reload, even if it fails. */
  async reloading(reload: () => Promise<void>): Promise<void> {
    this.#notify('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
    try {
      await reload();
    } finally {
      this.#notify('READY=1');
    }
  }

  stopping(): void {
    this.#stopping.abort();
    this.#notify('STOPPING=1', 'STATUS=stopping');
  }

  async #runWatchdog(readiness: Readiness): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const status = await readiness.status();
      if (this.#stopping.signal.aborted) return;
      this.#notify(`STATUS=${status}`, ...(this.#watchdogIntervalMs === undefined ? [] : ['WATCHDOG=1']));
      await pause(this.#watchdogIntervalMs ?? STATUS_INTERVAL_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  #notify(...lines: readonly string[]): void {
    try {
      this.#socket?.send(lines.join('\n'));
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.#log.warn({ advice: error.advice }, error.message);
    }
  }
}
