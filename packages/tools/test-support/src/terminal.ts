// A command on a real terminal, for what it does only there.

import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { onTestFinished } from 'vitest';

export const HAS_SCRIPT: boolean = String(spawnSync('script', ['--version']).stdout).includes('util-linux');

/** `script` runs a command on a terminal of its own, and types what comes on its standard input. */
export class Terminal {
  screen = '';
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<unknown>;

  /** Runs Node.js with `args`. */
  constructor(args: readonly string[]) {
    const words = Object.fromEntries([process.execPath, ...args].map((word, i) => [`WORD${i}`, word]));
    const command = Object.keys(words).map((name) => `"$${name}"`);
    this.#process = spawn('script', ['--quiet', '--return', '--command', command.join(' '), '/dev/null'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, ...words, SHELL: '/bin/sh' },
    });
    this.#process.stdout.setEncoding('utf8').on('data', (text: string) => (this.screen += text));
    this.#ended = once(this.#process, 'close');
    onTestFinished(() => void this.#process.kill('SIGKILL'));
  }

  async shows(text: string): Promise<void> {
    while (!this.screen.includes(text)) await once(this.#process.stdout, 'data');
  }

  type(text: string): void {
    this.#process.stdin.write(text);
  }

  /** All it showed, once the command has ended by itself: nothing else is typed. */
  async end(): Promise<string> {
    await this.#ended;
    return this.screen.replaceAll('\r\n', '\n');
  }
}
