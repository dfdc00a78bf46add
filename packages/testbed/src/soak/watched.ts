/** A daemon with the monitor inside, and what it tells. */

import { readFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { DaemonProcess } from '../process.js';
import type { Ground } from './ground.js';
import type { Watched } from './monitor.js';

const MONITOR = fileURLToPath(new URL('../../dist/soak/monitor.js', import.meta.url));
const PATIENCE_MS = 30_000;

export class WatchedDaemon {
  readonly process: DaemonProcess;
  readonly #file: string;
  #round = 0;

  /** @param start starts it with this environment */
  constructor(ground: Ground, name: string, start: (environment: NodeJS.ProcessEnv) => DaemonProcess) {
    this.#file = ground.network.path(`monitor-${name}`);
    this.process = start({ NODE_OPTIONS: `--import ${MONITOR}`, LATCHKEY_SOAK_MONITOR: this.#file });
  }

  async read(): Promise<Watched> {
    return JSON.parse(await readFile(this.#file, 'utf8')) as Watched;
  }

  /** Has it clear up and begin anew; gives what it tells then. */
  async beginAnew(): Promise<Watched> {
    this.process.signal('SIGUSR2');
    this.#round += 1;
    for (const end = performance.now() + PATIENCE_MS; performance.now() < end; await pause(100)) {
      const watched = await this.read().catch(() => undefined);
      if (watched !== undefined && watched.round >= this.#round) return watched;
    }
    throw new Error(`${this.process.name} does not answer its monitor:\n${this.process.transcript().slice(-2_000)}`);
  }

  /** What it said that no daemon should: exceptions, errors, anything but log lines. */
  complaints(): string[] {
    const { name, noise, lines } = this.process;
    const bad = lines.filter(({ level }) => level === 'error' || level === 'fatal');
    return [...(noise === '' ? [] : [noise]), ...bad.map((line) => JSON.stringify(line))].map((text) => `${name}: ${text}`);
  }
}
