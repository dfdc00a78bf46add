// Proves on a real terminal that a secret which is typed there is taken at the end of its line, and not shown.

import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import type { Readable, Writable } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';

const SECRET = 'LATCHKEY:1/5b2e9d0c4f61a738';
const PROMPT = 'Scan the label: ';
const CODE = `
  import { readTypedLine } from ${JSON.stringify(new URL('../dist/typed-line.js', import.meta.url).href)};
  const say = (text) => process.stdout.write(text + '\\n');
  readTypedLine(${JSON.stringify(PROMPT.trim())}, 'a label').then(
    (line) => say(line === ${JSON.stringify(SECRET)} ? 'taken' : 'taken wrongly'),
    (error) => say(error.name + ': ' + error.message));`;

const HAS_SCRIPT = String(spawnSync('script', ['--version']).stdout).includes('util-linux');

/** `script` runs a command on a terminal of its own, and types what comes on its standard input. */
class Terminal {
  screen = '';
  readonly #process: ChildProcessByStdio<Writable, Readable, null>;
  readonly #ended: Promise<unknown>;

  constructor() {
    const command = `"$NODE" --input-type=module --eval "$CODE"`;
    this.#process = spawn('script', ['--quiet', '--return', '--command', command, '/dev/null'], {
      stdio: ['pipe', 'pipe', 'ignore'],
      env: { ...process.env, NODE: process.execPath, CODE, SHELL: '/bin/sh' },
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

describe.skipIf(!HAS_SCRIPT)('a line that is typed on a terminal (needs script, of util-linux)', () => {
  it('is taken with the Enter that ends it, and not shown', async () => {
    const terminal = new Terminal();
    await terminal.shows(PROMPT);
    terminal.type(`${SECRET}\r`);
    expect(await terminal.end()).toBe(`${PROMPT}\ntaken\n`);
  });

  it.each([
    ['Ctrl-C', '\u0003', 'Failure: interrupted'],
    ['Ctrl-D', '\u0004', 'UsageFailure: expected a label, and nothing was typed'],
  ])('may be refused with %s', async (_, key, message) => {
    const terminal = new Terminal();
    await terminal.shows(PROMPT);
    terminal.type(key);
    expect(await terminal.end()).toBe(`${PROMPT}\n${message}\n`);
  });
});
