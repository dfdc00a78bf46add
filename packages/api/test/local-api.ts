// The API on a unix socket of its own, beside a registry in a folder, and callers of it.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { type IncomingHttpHeaders, request } from 'node:http';
import { type RequestOptions as HttpsOptions, request as requestOverTls } from 'node:https';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Secret } from '@latchkey/protocol';
import { Registry } from '@latchkey/registry';
import type { Clock, Daemon } from '@latchkey/runtime/daemon';
import { MASTER } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { recordOutput } from '@latchkey/test-support/output-record';
import { onTestFinished } from 'vitest';
import type { Role } from '../src/access.js';
import { startApi } from '../src/index.js';
import { generateToken } from '../src/tokens/token.js';
import { openTokenStore, type TokenRecord } from '../src/tokens/token-store.js';
import { undocumented } from './documented.js';

export interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly octets: Buffer;
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
  /** Where a proxy brings callers with tokens. */
  readonly remoteSocket: string;
  readonly log: CapturedLog;
  readonly #daemon: Daemon;
  #stopped: Promise<void> | undefined;

  private constructor(socket: string, remoteSocket: string, log: CapturedLog, daemon: Daemon) {
    this.socket = socket;
    this.remoteSocket = remoteSocket;
    this.log = log;
    this.#daemon = daemon;
  }

  /** @param local roles by uid; their group is this process's own */
  static async start(
    folder: string,
    local: Readonly<Record<string, Role>> = {},
    masterKey: () => Secret = () => Secret.from(MASTER),
    monotonicMs?: () => number,
    clock?: Clock,
  ): Promise<LocalApi> {
    const socketFolder = await tempFolder();
    await chmod(socketFolder, 0o711);
    const [socket, remoteSocket] = [join(socketFolder, 'api.sock'), join(socketFolder, 'remote.sock')];
    const log = new CapturedLog();
    const daemon = await startApi({
      config: { socket, local, remote: { socket: remoteSocket } },
      folder,
      registry: { open: () => Registry.open(folder, masterKey(), 'api', clock) },
      log: log.log,
      ...(monotonicMs === undefined ? {} : { monotonicMs }),
    });
    const api = new LocalApi(socket, remoteSocket, log, daemon);
    onTestFinished(() => api.stop());
    return api;
  }

  /** At the end of the test, if not before. */
  stop(): Promise<void> {
    return (this.#stopped ??= this.#daemon.stop());
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Answer> {
    return this.request(path, { headers });
  }

  request(path: string, options: RequestOptions = {}): Promise<Answer> {
    return ask({ socketPath: this.socket }, path, options);
  }

  /** Sends a change as JSON. */
  change(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    if (body === undefined) return this.request(path, { method, headers });
    const json = { 'content-type': 'application/json', ...headers };
    return this.request(path, { method, headers: json, body: JSON.stringify(body) });
  }

  /** As a proxy asks on behalf of a caller. */
  remote(path: string, token?: string, headers: Record<string, string> = {}, options: RequestOptions = {}): Promise<Answer> {
    const authorization: Record<string, string> = token === undefined ? {} : { authorization: `Bearer ${token}` };
    return ask({ socketPath: this.remoteSocket }, path, { ...options, headers: { ...authorization, ...headers } });
  }
}

/** Rejects an answer that is not as packages/api/openapi.json says. */
export function ask(
  target: HttpsOptions,
  path: string,
  { method = 'GET', headers = {}, body }: RequestOptions = {},
): Promise<Answer> {
  const send = target.socketPath === undefined && target.protocol !== 'http:' ? requestOverTls : request;
  return new Promise((resolve, reject) => {
    const sent = send({ ...target, path, method, headers, agent: false }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => {
        const octets = Buffer.concat(parts);
        recordOutput('log', octets);
        const text = octets.toString('utf8');
        const { statusCode: status = 0, headers: received } = response;
        const isJson = /\bjson\b/.test(received['content-type'] ?? '') && text !== '';
        const answered = isJson ? (JSON.parse(text) as unknown) : undefined;
        const contentType = received['content-type'];
        const fault = undocumented({ method, path, requestBody: body, status, contentType, body: answered });
        if (fault === undefined) resolve({ status, headers: received, text, octets, body: answered });
        else reject(new Error(`openapi.json does not say this: ${fault}`));
      });
      response.on('error', reject);
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/** Reads `{path, headers, method}` a line, and answers each with `{status, text}` a line. */
const CALLER = `
const { request } = require('node:http');
require('node:readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const { path, headers, method } = JSON.parse(line);
  const done = (answer) => process.stdout.write(JSON.stringify(answer) + '\\n');
  request({ socketPath: process.argv[1], path, headers, method, agent: false }, (response) => {
    let text = '';
    response.setEncoding('utf8').on('data', (part) => (text += part)).on('end', () => done({ status: response.statusCode, text }));
  }).on('error', (error) => done({ status: 0, text: error.code })).end();
});
process.stdout.write('ready\\n');
`;

/** A token in the store of the registry's folder. */
export async function createToken(
  folder: string,
  more: Partial<TokenRecord> = {},
): Promise<{ readonly id: string; readonly text: string }> {
  const { id, text, hash } = generateToken();
  const tokens = await openTokenStore(folder);
  const now = Date.now();
  await tokens.add({
    id,
    name: 'test',
    hash,
    scopes: ['read'],
    networks: [],
    createdBy: 'user ada',
    createdAt: now,
    expiresAt: now + 86_400_000,
    registryRestoredAt: null,
    ...more,
  });
  await tokens.close();
  return { id, text };
}

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

  request(method: string, path: string): Promise<{ readonly status: number; readonly text: string }> {
    return this.#ask({ path, method, headers: {} });
  }
}
