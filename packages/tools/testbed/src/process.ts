/**
 * Latchkey's own commands as processes of their own: run to the end, or started and listened to.
 */

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { fileURLToPath } from 'node:url';
import { recordOutput } from '@latchkey/test-support/output-record';
import { type CommandResult, runInWorker } from './command-workers.js';

export type { CommandResult } from './command-workers.js';

/** The commands a user has, and the soak's own process that plays many nodes. */
export type CommandName = 'auth-server' | 'controller' | 'node-agent' | 'fleet';

/**
 * `node packages/NAME/dist/main.js`, or the command that is installed below the folder that
 * LATCHKEY_TESTBED_BIN names.
 *
 * @param packages a folder of another version's packages
 */
export function commandLine(name: CommandName, args: readonly string[], packages?: string): string[] {
  if (packages !== undefined && name !== 'fleet') return [join(packages, name, 'dist/main.js'), ...args];
  const installed = process.env['LATCHKEY_TESTBED_BIN'];
  if (installed !== undefined && name !== 'fleet') return [join(installed, `latchkey-${name}`), ...args];
  // From src/ under vitest as from dist/: both are two below the packages.
  const path = name === 'fleet' ? '../dist/soak/fleet.js' : `../../../${name}/dist/main.js`;
  return [fileURLToPath(new URL(path, import.meta.url)), ...args];
}

/** What a command that runs to its end finds around it. */
export interface CommandOptions {
  /** What comes on standard input. */
  readonly input?: string | undefined;
  /** The folder that it works in. */
  readonly cwd?: string | undefined;
  /** As of `commandLine`. */
  readonly packages?: string | undefined;
}

/**
 * Runs a command to its end: in a process that runs others before and after it where
 * LATCHKEY_TESTBED_WORKER names the program of such a process (`command-worker`), in one of its own
 * where not, and if it is of another version (`packages`, as of `commandLine`).
 */
export function runCommand(name: CommandName, args: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const { input = '', cwd = process.cwd(), packages } = options;
  const worker = process.env['LATCHKEY_TESTBED_WORKER'];
  if (worker === undefined || name === 'fleet' || packages !== undefined) return runProcess(name, args, options);
  return runInWorker(worker, { name, args, input, environment: process.env, cwd });
}

/** Runs a command to its end, in a process of its own. */
export async function runProcess(
  name: CommandName,
  args: readonly string[],
  { input = '', cwd, packages }: CommandOptions = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, commandLine(name, args, packages), { stdio: ['pipe', 'pipe', 'pipe'], cwd });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => stdout.push(part));
  child.stderr.on('data', (part: Buffer) => stderr.push(part));
  child.stdin.on('error', () => undefined).end(input);
  const [code] = (await once(child, 'close')) as [number | null];
  recordOutput('process', Buffer.concat([...stdout, ...stderr]));
  return { code, stdout: String(Buffer.concat(stdout)), stderr: String(Buffer.concat(stderr)) };
}

/** One line of a daemon's log. */
export interface LogLine {
  readonly level: string;
  readonly time: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A daemon that was started, and everything it has logged. */
export class DaemonProcess {
  readonly name: CommandName;
  readonly lines: LogLine[] = [];
  /** What came on standard output and standard error that is not a log line. */
  unparsedOutput = '';
  readonly #child: ChildProcessByStdio<null, Readable, Readable>;
  readonly #events = new EventEmitter();
  readonly #exit: Promise<number | null>;
  #exited = false;
  #keepsLog = true;

  /**
   * @param environment added to this process's own
   * @param within a command that changes what the daemon finds around it, and then becomes the
   *   daemon, whose command line follows
   * @param packages as of `commandLine`
   */
  constructor(
    name: CommandName,
    args: readonly string[],
    environment: NodeJS.ProcessEnv = {},
    within: readonly string[] = [],
    packages?: string,
  ) {
    this.name = name;
    this.#events.setMaxListeners(0);
    const [command = '', ...line] = [...within, process.execPath, ...commandLine(name, args, packages)];
    this.#child = spawn(command, line, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...environment },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream.on('data', (part: Buffer) => recordOutput('process', part));
    const decoder = new StringDecoder();
    this.#child.stderr.on('data', (part: Buffer) => {
      const text = decoder.write(part);
      if (this.#keepsLog) this.unparsedOutput += text;
    });
    createInterface({ input: this.#child.stdout }).on('line', (line) => this.#receive(line));
    this.#exit = once(this.#child, 'close').then((values) => {
      this.#exited = true;
      this.#events.emit('line');
      return (values as [number | null])[0];
    });
  }

  get hasEnded(): boolean {
    return this.#exited;
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /**
   * The first line, of those there are and those to come, that `matches`. Fails when the daemon
   * ends without one.
   */
  async waitFor(matches: (line: LogLine) => boolean, timeoutMs = 150_000): Promise<LogLine> {
    const timeout = AbortSignal.timeout(timeoutMs);
    for (let seen = 0; ;) {
      const line = this.lines.slice(seen).find(matches);
      seen = this.lines.length;
      if (line !== undefined) return line;
      if (this.#exited || timeout.aborted)
        throw new Error(`${this.name} ${this.#exited ? 'ended' : 'said nothing like it'}:\n${this.transcript()}`);
      await once(this.#events, 'line', { signal: timeout }).catch(() => undefined);
    }
  }

  /** Where it listens, HOST:PORT. */
  async listening(): Promise<string> {
    const line = await this.waitFor(({ msg }) => msg === 'listening');
    return String(line['address']);
  }

  /** Ends it; resolves with its exit code, `null` where the signal ended it. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.#child.kill(signal);
    return this.#exit;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  ended(): Promise<number | null> {
    return this.#exit;
  }

  transcript(): string {
    return [...this.lines.map((line) => JSON.stringify(line)), this.unparsedOutput].join('\n');
  }

  /** Drops what it has logged, and what it logs from now on. */
  dropLog(): void {
    this.#keepsLog = false;
    this.lines.length = 0;
    this.unparsedOutput = '';
  }

  #receive(text: string): void {
    if (!this.#keepsLog) return;
    try {
      this.lines.push(JSON.parse(text) as LogLine);
    } catch {
      this.unparsedOutput += `${text}\n`;
    }
    this.#events.emit('line');
  }
}
