// The console as a browser gets it: the bundle of the sources under the headers of the API, and the
// real API behind it. The session's secret is an API token here, which this server turns into the
// header that the API's socket for proxies takes.

import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { extname } from 'node:path';
import { bundleConsole, type ConsoleFiles } from '@latchkey/release/console';
import type { AdminFixture } from '@latchkey/test-support/admin-fixture';
import { onTestFinished } from 'vitest';
import { createToken, LocalApi } from '../../api/test/local-api.js';
import { openTokenStore } from '../../api/src/tokens/token-store.js';

const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self'",
    "font-src 'self'",
    "connect-src 'self'",
    "manifest-src 'self'",
    "form-action 'self'",
    "base-uri 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
    "trusted-types 'none'",
  ].join('; '),
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
};

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

export class ConsoleSite {
  readonly origin: string;
  readonly #folder: string;
  readonly #files: ConsoleFiles;
  readonly #api: LocalApi;
  #token: { readonly id: string; readonly text: string } | undefined;

  private constructor(folder: string, files: ConsoleFiles, api: LocalApi, port: number) {
    this.#folder = folder;
    this.#files = files;
    this.#api = api;
    this.origin = `http://127.0.0.1:${port}`;
  }

  static async start({ registry: { folder } }: AdminFixture): Promise<ConsoleSite> {
    const api = await LocalApi.start(folder);
    const files = await bundleConsole();
    const server = createServer();
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    const site = new ConsoleSite(folder, files, api, (server.address() as AddressInfo).port);
    server.on('request', (asked: IncomingMessage, response: ServerResponse) => site.#answer(asked, response));
    return site;
  }

  /** A session: the text that the page keeps. */
  async signIn(): Promise<string> {
    this.#token = await createToken(this.#folder, { scopes: ['read', 'audit'] });
    return this.#token.text;
  }

  /** The API knows that session no longer. */
  async endSession(): Promise<void> {
    const tokens = await openTokenStore(this.#folder);
    await tokens.remove(this.#token?.id ?? '');
    await tokens.close();
  }

  #answer(asked: IncomingMessage, response: ServerResponse): void {
    const { pathname } = new URL(asked.url ?? '/', this.origin);
    if (pathname.startsWith('/v1/')) return this.#forward(asked, response);
    const path = extname(pathname) === '' ? 'index.html' : pathname.slice(1);
    const text = this.#files.get(path);
    response.writeHead(text === undefined ? 404 : 200, { ...PAGE_HEADERS, 'content-type': TYPES[extname(path)] ?? 'text/plain' });
    response.end(text);
  }

  #forward({ method, url, headers }: IncomingMessage, response: ServerResponse): void {
    const session = headers['x-latchkey-session'];
    const authorization: Record<string, string> = typeof session === 'string' ? { authorization: `Bearer ${session}` } : {};
    const sent = request(
      { socketPath: this.#api.remoteSocket, path: url, method, headers: authorization, agent: false },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      },
    );
    sent.on('error', () => response.destroy());
    sent.end();
  }
}
