/**
 * A process under measurement: one of Latchkey's daemons, or one that stands in for it. Its log is
 * read until it listens, then let go.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { createInterface } from 'node:readline';
import { built, install, type Program } from './installed.js';
import { type Resources, resourcesOf } from './machine.js';
import type { ProfilerAnswer, ProfilerRequest } from './where/profile.js';

type Child = ChildProcessByStdio<null, Readable, Readable>;

/** The profiler that a daemon has in it, from src/ under vitest as from dist/. */
const PROFILER = new URL('../dist/where/profiler.js', import.meta.url).href;

type DaemonName = Exclude<Program, 'node-agent'>;

export class Daemon {
  readonly name: string;
  /** HOST:PORT, or unix:PATH. */
  readonly address: string;
  readonly #child: Child;

  private constructor(name: string, address: string, child: Child) {
    this.name = name;
    this.address = address;
    this.#child = child;
  }

  /**
   * Starts it as it gets installed; resolves once it listens. With a profiler in it, it runs as it
   * was built: the name of a file tells which room it is in.
   *
   * @param ready the message of its log that says where it listens
   */
  static async start(
    program: DaemonName,
    args: readonly string[],
    { profiled = false, ready = 'listening' }: { readonly profiled?: boolean; readonly ready?: string } = {},
  ): Promise<Daemon> {
    const run = profiled ? ['--import', PROFILER, built(program)] : [await install(program)];
    const stdio = ['ignore', 'pipe', 'pipe', ...(profiled ? (['ipc'] as const) : [])] as const;
    const child = spawn(process.execPath, [...run, ...args], { stdio: [...stdio] }) as Child;
    let words = '';
    const collect = (text: string): void => {
      words += text;
    };
    child.stderr.setEncoding('utf8').on('data', collect);
    const lines = createInterface({ input: child.stdout });
    const listening = new Promise<string>((resolve, reject) => {
      lines.on('line', (line) => {
        const { msg, api, address = api } = JSON.parse(line) as { msg?: string; api?: string; address?: string };
        words += `${line}\n`;
        if (msg === ready && address !== undefined) resolve(address);
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

  /** Only of a daemon that was started with a profiler. */
  async profile(request: ProfilerRequest): Promise<ProfilerAnswer> {
    const answered = once(this.#child, 'message');
    this.#child.send(request);
    const [answer] = (await answered) as [ProfilerAnswer];
    return answer;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'close');
    this.#child.kill('SIGTERM');
    await gone;
  }
}
