/** People who look at the registry through the API: pages of nodes, and a stream of events each. */

import { readFile, writeFile } from 'node:fs/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { measureCommand } from '../command.js';
import { Daemon } from '../daemon.js';

/** Each asks for a page so often, ms. */
const INTERVAL_MS = 1_000;
const PAGE = '/v1/nodes?state=joined&controller=00000001&limit=100';
const STREAM = '/v1/events';
const READY = 'serving the API to callers with tokens';

/** Readers of an API process of their own, each with a token of its own. */
export class ApiReaders {
  readonly daemon: Daemon;
  readonly #socket: string;
  readonly #tokens: readonly string[];

  private constructor(daemon: Daemon, socket: string, tokens: readonly string[]) {
    this.daemon = daemon;
    this.#socket = socket;
    this.#tokens = tokens;
  }

  /**
   * @param folder for tokens and sockets
   * @param registry folder of the registry
   */
  static async start(folder: string, registry: string, count: number): Promise<ApiReaders> {
    const tokens: string[] = [];
    for (let i = 0; i < count; i++) {
      const file = join(folder, `reader-${i}.token`);
      await measureCommand(['token', 'create', `reader ${i}`, '--data', registry, '--scope', 'read', '--out', file]);
      tokens.push((await readFile(file, 'utf8')).trim());
    }
    const socket = join(folder, 'remote.sock');
    const config = join(folder, 'api.yaml');
    const api = { socket: join(folder, 'api.sock'), remote: { socket } };
    await writeFile(config, JSON.stringify({ api }), { mode: 0o600 });
    const daemon = await Daemon.start('auth-server', ['api', '--data', registry, '--config', config], { ready: READY });
    return new ApiReaders(daemon, socket, tokens);
  }

  /**
   * Reads while `work` runs, a page a second and a stream each.
   *
   * @returns what `work` returned, the pages that were read, and the events
   */
  async during<T>(work: () => Promise<T>): Promise<{ readonly result: T; readonly pages: number; readonly events: number }> {
    let [pages, events] = [0, 0];
    const agent = new Agent({ keepAlive: true });
    let isOver = false;
    const countEvents = (text: string): void => {
      events += text.split('\ndata:').length - 1;
    };
    const streams = await Promise.all(this.#tokens.map((token) => this.#ask(STREAM, token, agent)));
    for (const stream of streams)
      stream
        .setEncoding('utf8')
        .on('data', countEvents)
        .on('error', () => undefined);
    let failure: Error | undefined;
    const read = async (token: string): Promise<void> => {
      const page = await this.#ask(PAGE, token, agent);
      for await (const octets of page) void octets;
      pages += 1;
    };
    let next = 0;
    const timer = setInterval(() => {
      const token = this.#tokens[next++ % this.#tokens.length] ?? '';
      read(token).catch((error: Error) => (failure = isOver ? failure : error));
    }, INTERVAL_MS / this.#tokens.length);
    try {
      const result = await work();
      if (failure !== undefined) throw failure;
      return { result, pages, events };
    } finally {
      clearInterval(timer);
      isOver = true;
      agent.destroy();
    }
  }

  stop(): Promise<void> {
    return this.daemon.stop();
  }

  /** @throws Error for an answer other than 200 */
  #ask(path: string, token: string, agent: Agent): Promise<IncomingMessage> {
    const headers = { authorization: `Bearer ${token}` };
    return new Promise((resolve, reject) => {
      const asked = request({ socketPath: this.#socket, path, headers, agent }, (answer) => {
        if (answer.statusCode === 200) resolve(answer);
        else reject(new Error(`${path}: ${answer.statusCode}`));
      });
      asked.on('error', reject).end();
    });
  }
}
