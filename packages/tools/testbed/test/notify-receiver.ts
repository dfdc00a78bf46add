// systemd's end of sd_notify(3): a unix datagram socket that python3 listens on, since Node.js has
// none.

import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { onTestFinished, type TestContext } from 'vitest';

export const CAN_RECEIVE: boolean = process.platform === 'linux' && spawnSync('python3', ['--version']).status === 0;

const SCRIPT = `
import json, os, socket, sys
name = sys.argv[1]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
receiver.bind('\\0' + name[1:] if name.startswith('@') else name)
print(json.dumps('listening'), flush=True)
while True:
    print(json.dumps(receiver.recv(4096).decode()), flush=True)
`;

export class NotifyReceiver {
  /** Each datagram. */
  readonly messages: string[] = [];
  readonly name: string;
  readonly #child: ChildProcessByStdio<null, Readable, null>;
  readonly #events = new EventEmitter();

  private constructor(name: string) {
    this.name = name;
    this.#child = spawn('python3', ['-c', SCRIPT, name], { stdio: ['ignore', 'pipe', 'inherit'] });
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.messages.push(JSON.parse(line) as string);
      this.#events.emit('message');
    });
  }

  /**
   * @param name a path, or an abstract name after `@`
   * @param finished of the test's context, where tests run concurrently
   */
  static async open(name: string, finished: TestContext['onTestFinished'] = onTestFinished): Promise<NotifyReceiver> {
    const receiver = new NotifyReceiver(name);
    finished(() => void receiver.#child.kill());
    await receiver.next((message) => message === 'listening');
    return receiver;
  }

  /** The first message, of those from `from` on that came or are to come, that `matches`. */
  async next(matches: (message: string) => boolean, from: number = 0, timeoutMs: number = 180_000): Promise<string> {
    const signal = AbortSignal.timeout(timeoutMs);
    for (;;) {
      const message = this.messages.slice(from).find(matches);
      if (message !== undefined) return message;
      if (signal.aborted) throw new Error(`no such message: ${JSON.stringify(this.messages)}`);
      await once(this.#events, 'message', { signal }).catch(() => undefined);
    }
  }

  /** Those that were received until now, lines apart. */
  lines(): string[] {
    return this.messages.flatMap((message) => message.split('\n'));
  }
}
