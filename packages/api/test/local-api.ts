// The API on a unix socket of its own, beside a registry in a folder, and callers of it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Secret } from '@latchkey/protocol';
import { Registry } from '@latchkey/registry';
import { MASTER } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { onTestFinished } from 'vitest';
import type { Role } from '../src/access.js';
import { startApi } from '../src/index.js';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  // Each test knows what it asked for.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Record<string, string>;
  readonly body?: string;
}

export class LocalApi {
  readonly socket: string;
  readonly log: CapturedLog;

  private constructor(socket: string, log: CapturedLog) {
    this.socket = socket;
    this.log = log;
  }

  /** @param local roles by uid; their group is this process's own */
  static async start(
    folder: string,
    local: Readonly<Record<string, Role>> = {},
    masterKey: () => Secret = () => Secret.from(MASTER),
  ): Promise<LocalApi> {
    const socketFolder = await tempFolder();
    await chmod(socketFolder, 0o711);
    const socket = join(socketFolder, 'api.sock');
    const log = new CapturedLog();
    const daemon = await startApi({
      config: { socket, local },
      folder,
      openRegistry: () => Registry.open(folder, masterKey(), 'api'),
      log: log.log,
    });
    onTestFinished(() => daemon.stop());
    return new LocalApi(socket, log);
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.request(path, { headers });
  }

  request(path: string, { method = 'GET', headers = {}, body }: RequestOptions = {}): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const sent = request({ socketPath: this.socket, path, method, headers, agent: false }, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (part: string) => (text += part));
        response.on('end', () => {
          const { statusCode: status = 0, headers: received } = response;
          const isJson = received['content-type']?.includes('json') === true && text !== '';
          resolve({ status, headers: received, text, body: isJson ? (JSON.parse(text) as unknown) : undefined });
        });
        response.on('error', reject);
      });
      sent.on('error', reject);
      sent.end(body);
    });
  }
}

/** Reads `{path, headers}` a line, and answers each with `{status, text}` a line. */
const CALLER = `
const { request } = require('node:http');
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { path, headers } = JSON.parse(line);
  const done = (answer) => process.stdout.write(JSON.stringify(answer) + '\\n');
  request({ socketPath: process.argv[1], path, headers, agent: false }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => done({ status: response.statusCode, text }));
  }).on('error', (error) => done({ status: 0, text: error.code })).end();
});
process.stdout.write('ready\\n');
`;

/** Only root starts processes of other users. */
export const CAN_BECOME_OTHERS: boolean = process.getuid?.() === 0;

type Ask = (request: object) => Promise<{ readonly status: number; readonly text: string }>;

/** A process of another user that calls the API. */
export class OtherCaller {
  readonly #ask: Ask;

  private constructor(ask: Ask) {
    this.#ask = ask;
  }

  static async start(uid: number, socket: string, gid: number = process.getgid?.() ?? 0): Promise<OtherCaller> {
    const child = spawn(process.execPath, ['-e', CALLER, socket], { uid, gid, stdio: ['pipe', 'pipe', 'inherit'], cwd: '/' });
    onTestFinished(async () => {
      child.stdin.end();
      child.kill();
      if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
    });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    await lines.next();
    return new OtherCaller(async (sent) => {
      child.stdin.write(`${JSON.stringify(sent)}\n`);
      const { value } = await lines.next();
      return JSON.parse(String(value)) as { status: number; text: string };
    });
  }

  get(path: string, headers: Record<string, string> = {}): Promise<{ readonly status: number; readonly text: string }> {
    return this.#ask({ path, headers });
  }
}
