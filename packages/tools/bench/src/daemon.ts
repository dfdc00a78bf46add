/**
 * A process under measurement: one of Latchkey's daemons, or one that stands in for it. Its log is
 * read until it listens, then let go.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { install, type Program } from './installed.js';
import { type Resources, resourcesOf } from './machine.js';

export class Daemon {
  readonly name: string;
  /** HOST:PORT. */
  readonly address: string;
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;

  private constructor(name: string, address: string, child: ChildProcessByStdio<null, Readable, Readable>) {
    this.name = name;
    this.address = address;
    this.#child = child;
  }

  /** Starts it as it gets installed; resolves once it listens. */
  static async start(program: Exclude<Program, 'node-agent'>, args: readonly string[]): Promise<Daemon> {
    const child = spawn(process.execPath, [await install(program), ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let words = '';
    const collect = (text: string): void => {
      words += text;
    };
    child.stderr.setEncoding('utf8').on('data', collect);
    const lines = createInterface({ input: child.stdout });
    const listening = new Promise<string>((resolve, reject) => {
      lines.on('line', (line) => {
        const { msg, address } = JSON.parse(line) as { msg?: string; address?: string };
        words += `${line}\n`;
        if (msg === 'listening' && address !== undefined) resolve(address);
      });
      child.once('close', () => reject(new Error(`${program} ${args.join(' ')} ended:\n${words}`)));
    });
    const address = await listening;
    lines.removeAllListeners('line').close();
    child.stderr.off('data', collect).resume();
    child.stdout.resume();
    return new Daemon(program, address, child);
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  resources(): Resources {
    const taken = resourcesOf(this.pid);
    if (taken === undefined) throw new Error(`${this.name} ended`);
    return taken;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    await gone;
  }
}
