/** A daemon with the monitor inside, and what it tells. */

import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { DaemonProcess } from '../process.js';
import type { SoakEnvironment } from './environment.js';
import type { MonitorReport } from './monitor.js';

const MONITOR = fileURLToPath(new URL('../../dist/soak/monitor.js', import.meta.url));
const RESET_TIMEOUT_MS = 300_000;

export class MonitoredDaemon {
  readonly process: DaemonProcess;
  readonly #file: string;
  #round = 0;

  /** @param start starts it with this environment */
  constructor(environment: SoakEnvironment, name: string, start: (env: NodeJS.ProcessEnv) => DaemonProcess) {
    this.#file = environment.network.path(`monitor-${name}`);
    this.process = start({ NODE_OPTIONS: `--import ${MONITOR}`, LATCHKEY_SOAK_MONITOR: this.#file });
  }

  async read(): Promise<MonitorReport> {
    return JSON.parse(await readFile(this.#file, 'utf8')) as MonitorReport;
  }

  /** Has it clear up and begin anew; gives what it tells then. */
  async resetMonitor(): Promise<MonitorReport> {
    this.process.signal('SIGUSR2');
    this.#round += 1;
    for (const end = performance.now() + RESET_TIMEOUT_MS; performance.now() < end; await pause(100)) {
      const report = await this.read().catch(() => undefined);
      if (report !== undefined && report.round >= this.#round) return report;
    }
    throw new Error(`${this.process.name} does not answer its monitor:\n${this.process.transcript().slice(-2_000)}`);
  }

  /** What it said that no daemon should: exceptions, errors, anything but log lines. */
  unexpectedOutput(): string[] {
    const { name, unparsedOutput, lines } = this.process;
    const bad = lines.filter(({ level }) => level === 'error' || level === 'fatal');
    return [...(unparsedOutput === '' ? [] : [unparsedOutput]), ...bad.map((line) => JSON.stringify(line))].map(
      (text) => `${name}: ${text}`,
    );
  }
}
