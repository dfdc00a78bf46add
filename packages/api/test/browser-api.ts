// The API as it serves browsers on loopback, and browsers that sign in.

import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { Registry } from '@latchkey/registry';
import { AdminFixture, MASTER } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import { onTestFinished } from 'vitest';
import type { OrderLimits } from '@latchkey/operations/contract';
import type { Role } from '../src/access.js';
import { startApi } from '../src/index.js';
import type { OidcConfig } from '../src/oidc/config.js';
import { addUser, createLink } from '../src/users/administration.js';
import { Passwords } from '../src/users/password.js';
import { openUserStore, type UserStore } from '../src/users/user-store.js';
import { type Answer, ask, type RequestOptions } from './local-api.js';

export const ORIGIN = 'http://localhost:8080';
export const PASSWORD = 'correct horse battery';
/** What the fetch of a page of the console sends, beyond the session. */
export const FROM_PAGE: Readonly<Record<string, string>> = {
  host: 'localhost:8080',
  origin: ORIGIN,
  'sec-fetch-site': 'same-origin',
};
/** A thousandth of the cost of real passwords. */
const CHEAP = { N: 32, r: 8, p: 1 };

export class BrowserApi {
  readonly fixture: AdminFixture;
  readonly users: UserStore;
  readonly log: CapturedLog;
  readonly port: number;
  /** Where the gateway brings callers with tokens, and browsers. */
  readonly sockets: { readonly remote: string; readonly browser: string };
  /** Of the rate limits, in ms; added to the time of day. */
  readonly clock: { monotonicMs: number; aheadMs: number };

  private constructor(
    fixture: AdminFixture,
    users: UserStore,
    log: CapturedLog,
    port: number,
    sockets: { readonly remote: string; readonly browser: string },
    clock: { monotonicMs: number; aheadMs: number },
  ) {
    this.fixture = fixture;
    this.users = users;
    this.log = log;
    this.port = port;
    this.sockets = sockets;
    this.clock = clock;
  }

  static async start(consoleFolder?: string, origin: string = ORIGIN, oidc?: OidcConfig): Promise<BrowserApi> {
    const fixture = await AdminFixture.open();
    const { folder } = fixture.registry;
    const sockets = await tempFolder();
    const [remote, browser] = [join(sockets, 'remote.sock'), join(sockets, 'browser.sock')];
    const log = new CapturedLog();
    const clock = { monotonicMs: 0, aheadMs: 0 };
    const daemon = await startApi({
      config: {
        socket: join(sockets, 'api.sock'),
        local: {},
        remote: { socket: remote },
        browser: { listen: [{ host: '127.0.0.1', port: 0 }], socket: browser, origin },
        oidc,
      },
      folder,
      registry: { open: () => Registry.open(folder, Secret.from(MASTER), 'api') },
      consoleFolder,
      log: log.log,
      passwords: new Passwords(CHEAP),
      monotonicMs: () => clock.monotonicMs,
      now: () => Date.now() + clock.aheadMs,
    });
    const users = await openUserStore(folder);
    onTestFinished(async () => {
      await users.close();
      await daemon.stop();
    });
    const { address } = await log.until(({ msg }) => msg === 'serving the API to browsers');
    return new BrowserApi(fixture, users, log, Number(String(address).split(':').at(-1)), { remote, browser }, clock);
  }

  /**
   * Headers as they are given, and no others.
   *
   * @param from an address of this machine
   */
  send(path: string, options: RequestOptions = {}, from: string = '127.0.0.1'): Promise<Answer> {
    return ask({ protocol: 'http:', host: '127.0.0.1', port: this.port, localAddress: from }, path, options);
  }

  /** As a page of the console does without a session. */
  fetch(path: string, body?: object, headers: Record<string, string> = {}): Promise<Answer> {
    if (body === undefined) return this.send(path, { headers: { ...FROM_PAGE, ...headers } });
    return this.send(path, {
      method: 'POST',
      headers: { ...FROM_PAGE, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
  }

  loginFrom(address: string, user: string, password: string): Promise<Answer> {
    const headers = { ...FROM_PAGE, 'content-type': 'application/json' };
    return this.send('/v1/login', { method: 'POST', headers, body: JSON.stringify({ user, password }) }, address);
  }

  /** Adds a user. Returns the token of the sign-in link. */
  async addUser(name: string, role: Role, limits?: OrderLimits): Promise<string> {
    return tokenOf((await addUser(this.#administration(), name, role, limits)).url);
  }

  /** Another sign-in link of a user. */
  async createLink(name: string): Promise<string> {
    return tokenOf((await createLink(this.#administration(), name))?.url ?? '');
  }

  /** Adds a user, who sets a password and stays signed in. */
  async signedIn(name: string, role: Role, limits?: OrderLimits): Promise<BrowserSession> {
    const token = await this.addUser(name, role, limits);
    return new BrowserSession(this, await this.fetch('/v1/login/link', { token, password: PASSWORD }));
  }

  async signIn(user: string, password: string = PASSWORD): Promise<BrowserSession> {
    return new BrowserSession(this, await this.fetch('/v1/login', { user, password }));
  }

  #administration(): Parameters<typeof addUser>[0] {
    const { registry } = this.fixture;
    return {
      users: this.users,
      record: (event) => registry.actingAs('user root').record(event),
      actor: 'user root',
      registryRestoredAt: registry.restored?.at ?? null,
      origin: ORIGIN,
    };
  }
}

/** What a browser has of a session. */
export class BrowserSession {
  readonly #api: BrowserApi;
  readonly answer: Answer;
  readonly cookie: string;
  readonly secret: string;

  /** @param cookie of the answer's: which of them */
  constructor(api: BrowserApi, answer: Answer, cookie: number = 0) {
    this.#api = api;
    this.answer = answer;
    this.cookie = (answer.headers['set-cookie'] ?? [])[cookie]?.split(';')[0] ?? '';
    this.secret = String(answer.body?.secret);
  }

  get headers(): Record<string, string> {
    return { cookie: this.cookie, 'x-latchkey-session': this.secret };
  }

  get(path: string): Promise<Answer> {
    return this.#api.fetch(path, undefined, this.headers);
  }

  post(path: string, body: object = {}): Promise<Answer> {
    return this.#api.fetch(path, body, this.headers);
  }

  send(method: string, path: string, body?: object, more: Record<string, string> = {}): Promise<Answer> {
    const type: Record<string, string> = body === undefined ? {} : { 'content-type': 'application/json' };
    return this.#api.send(path, {
      method,
      headers: { ...FROM_PAGE, ...this.headers, ...type, ...more },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }
}

function tokenOf(url: string): string {
  return url.split('#link=')[1] ?? '';
}
