/** `latchkey-controller deliver` under measurement, with three targets of different formats. */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { subscribe } from '@latchkey/keys';
import { install } from '../installed.js';
import { childrenCpuMs, resourcesOf } from '../machine.js';

type Child = ChildProcessByStdio<null, Readable, Readable>;

interface LogLine {
  readonly msg?: string;
  readonly file?: string;
}

const TARGETS = [
  { label: 'mqtt-psk', format: 'psk' },
  { label: 'eap-psk', format: 'hostapd' },
  { label: 'tls-psk', format: 'stunnel' },
] as const;
export const LABELS: readonly string[] = TARGETS.map(({ label }) => label);

const IDENTITY = /[0-9a-f]{8}@[0-9a-f]{8}/g;
const POLL_INTERVAL_MS = 200;
const TIMEOUT_MS = 600_000;

export class DeliverProcess {
  readonly #child: Child;
  readonly #socket: string;
  readonly #files: readonly string[];
  /** Reloads so far, by file. */
  readonly #reloads = new Map<string, number>();
  readonly #events = new EventEmitter();

  private constructor(child: Child, socket: string, files: readonly string[]) {
    this.#child = child;
    this.#socket = socket;
    this.#files = files;
  }

  /**
   * Resolves once the files have the keys that the socket has now.
   *
   * @param folder must not exist
   */
  static async start(folder: string, socket: string): Promise<DeliverProcess> {
    await mkdir(folder, { mode: 0o700 });
    const targets = TARGETS.map((target) => Object.assign({ file: join(folder, target.format), reload: ['true'] }, target));
    const config = join(folder, 'deliver.yaml');
    await writeFile(config, JSON.stringify({ socket, state: join(folder, 'state'), targets }), { mode: 0o600 });
    const main = await install('controller');
    const child = spawn(process.execPath, [main, 'deliver', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] });
    const files = targets.map(({ file }) => file);
    const deliver = new DeliverProcess(child, socket, files);
    try {
      await deliver.#readLog();
      await deliver.upToDate();
      return deliver;
    } catch (error) {
      await deliver.stop();
      throw error;
    }
  }

  /** Of its own and of the programs that it ran: those that write, and those that reload. */
  get cpuMs(): number {
    const pid = this.#child.pid ?? 0;
    const own = resourcesOf(pid);
    if (own === undefined) throw new Error('deliver ended');
    return own.cpuMs + childrenCpuMs(pid);
  }

  /**
   * Has `change` made while the files are up to date. Returns how long after it the last program
   * was reloaded, in ms.
   */
  async measureDelay(change: () => Promise<void>): Promise<number> {
    const before = new Map(this.#reloads);
    await change();
    const since = performance.now();
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    while (this.#files.some((file) => this.#reloads.get(file) === before.get(file)))
      await once(this.#events, 'reload', { signal });
    return performance.now() - since;
  }

  /** Resolves once each file has the key that each node has now. */
  async upToDate(): Promise<void> {
    const identities = await this.#currentIdentities();
    for (const deadline = performance.now() + TIMEOUT_MS; ; await pause(POLL_INTERVAL_MS)) {
      const texts = await Promise.all(this.#files.map((file) => readFile(file, 'utf8').catch(() => '')));
      const delivered = texts.map((text) => new Set(text.match(IDENTITY)));
      if (identities.every((identity) => delivered.every((all) => all.has(identity)))) return;
      if (performance.now() > deadline) throw new Error('deliver has not written all keys');
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    await gone;
  }

  async #currentIdentities(): Promise<string[]> {
    const identities: string[] = [];
    for await (const event of subscribe({ labels: LABELS.slice(0, 1), socket: this.#socket })) {
      if (event.type === 'synced') break;
      if (event.type === 'key') identities.push(`${event.id}@${event.kid}`);
    }
    return identities;
  }

  /** Resolves once it is synced with the key socket. */
  async #readLog(): Promise<void> {
    let words = '';
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => (words = (words + text).slice(-4_096)));
    const synced = new Promise<void>((resolve, reject) => {
      createInterface({ input: this.#child.stdout }).on('line', (line) => {
        const { msg, file } = JSON.parse(line) as LogLine;
        if (msg === 'synced with the key socket') resolve();
        if (msg !== 'reloaded with new keys' || file === undefined) return;
        this.#reloads.set(file, (this.#reloads.get(file) ?? 0) + 1);
        this.#events.emit('reload');
      });
      this.#child.once('close', () => reject(new Error(`deliver ended:\n${words}`)));
    });
    await synced;
  }
}
