// A client of a stream of events, on a unix socket.

import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { recordOutput } from '@latchkey/test-support/output-record';
import { onTestFinished } from 'vitest';

interface Event {
  readonly event?: string;
  readonly id?: string;
  readonly data: Record<string, unknown>;
}

/** A client of a stream. */
export class EventClient {
  readonly status: number;
  readonly type: string | undefined;
  readonly #response: IncomingMessage;
  readonly #parts: AsyncIterator<string>;
  #text = '';

  private constructor(response: IncomingMessage) {
    this.status = response.statusCode ?? 0;
    this.type = response.headers['content-type'];
    this.#response = response;
    this.#parts = response.setEncoding('utf8')[Symbol.asyncIterator]() as AsyncIterator<string>;
  }

  static async open(socketPath: string, path: string = '/v1/events', headers: Record<string, string> = {}): Promise<EventClient> {
    const sent = request({ socketPath, path, headers, agent: false }).end();
    onTestFinished(() => void sent.destroy());
    const [response] = (await once(sent, 'response')) as [IncomingMessage];
    return new EventClient(response);
  }

  /** The next block, a comment too; `undefined` at the end of the stream. */
  async block(): Promise<string | undefined> {
    for (;;) {
      const end = this.#text.indexOf('\n\n');
      if (end >= 0) {
        const found = this.#text.slice(0, end);
        this.#text = this.#text.slice(end + 2);
        return found;
      }
      const { done, value } = await this.#parts.next();
      if (done === true) return undefined;
      recordOutput('log', value);
      this.#text += value;
    }
  }

  close(): void {
    this.#response.destroy();
  }

  async event(): Promise<Event> {
    for (;;) {
      const block = await this.block();
      if (block === undefined) throw new Error('the stream has ended');
      if (block.startsWith(':')) continue;
      const fields = Object.fromEntries(block.split('\n').map((line) => line.split(/: (.*)/s).slice(0, 2)));
      return { ...fields, data: JSON.parse(fields.data) as Record<string, unknown> };
    }
  }
}
