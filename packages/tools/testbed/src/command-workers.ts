/** The command workers of this process: one for each command that runs at the same time. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, fstatSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { recordOutput } from '@latchkey/test-support/output-record';

export interface CommandRequest {
  readonly name: 'auth-server' | 'controller' | 'node-agent';
  readonly args: readonly string[];
  /** What comes on standard input. */
  readonly input: string;
  readonly environment: Readonly<NodeJS.ProcessEnv>;
  /** The folder that it works in. */
  readonly cwd: string;
}

export interface CommandResult {
  /** `null` where a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** `failure`: why the command has no exit code. */
export type CommandResponse = { readonly code: number; readonly isReusable: boolean } | { readonly failure: string };

/** `join` turns V8's optimising compiler off, and must not slow other commands down. */
const pools = { join: [] as CommandWorker[], others: [] as CommandWorker[] };

/** Runs a command in a worker. @param program the file of `command-worker`, bundled */
export async function runInWorker(program: string, request: CommandRequest): Promise<CommandResult> {
  const idle = request.name === 'node-agent' && request.args[0] === 'join' ? pools.join : pools.others;
  const worker = idle.pop() ?? new CommandWorker(program);
  const result = await worker.run(request);
  if (worker.isReusable) idle.push(worker);
  return result;
}

class CommandWorker {
  readonly #child: ChildProcess;
  readonly #exit: Promise<readonly [number | null]>;
  /** Standard output and standard error go to files: what native code prints is there, too. */
  readonly #output: readonly [stdout: number, stderr: number];
  isReusable = true;

  constructor(program: string) {
    const folder = mkdtempSync(join(tmpdir(), 'latchkey-worker-'));
    const open = (name: string): number => openSync(join(folder, name), 'a+', 0o600);
    this.#output = [open('stdout'), open('stderr')];
    rmSync(folder, { recursive: true });
    this.#child = spawn(process.execPath, [program], { stdio: ['ignore', ...this.#output, 'ipc'] });
    this.#exit = once(this.#child, 'exit') as Promise<[number | null]>;
    // It ends with this process, which does not wait for it.
    this.#unref();
  }

  async run(request: CommandRequest): Promise<CommandResult> {
    this.#child.ref();
    this.#child.channel?.ref();
    const answered = once(this.#child, 'message') as Promise<[CommandResponse]>;
    this.#child.send(request);
    // A command may end its process.
    const response = await Promise.race([
      answered.then(([message]) => message),
      this.#exit.then(([code]) => ({ code, isReusable: false })),
    ]);
    this.#unref();
    const [stdout = '', stderr = ''] = this.#output.map((descriptor) => takeText(descriptor));
    this.isReusable = 'isReusable' in response && response.isReusable;
    if (!this.isReusable) this.#end();
    if ('failure' in response) throw new Error(`${response.failure}:\n${stdout}${stderr}`);
    return { code: response.code, stdout, stderr };
  }

  #unref(): void {
    this.#child.unref();
    this.#child.channel?.unref();
  }

  #end(): void {
    this.#child.kill('SIGKILL');
    for (const descriptor of this.#output) closeSync(descriptor);
  }
}

/** Reads what is in a file, and empties it. */
function takeText(descriptor: number): string {
  const octets = Buffer.alloc(fstatSync(descriptor).size);
  // The position is the worker's, too.
  readSync(descriptor, octets, 0, octets.length, 0);
  ftruncateSync(descriptor);
  recordOutput('process', octets);
  return octets.toString();
}
