// The console as a browser gets it: the bundle of the sources, served by the real API on loopback.

import { createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import { join } from 'node:path';
import { type ApiOptions, startApi } from '@latchkey/api';
import { addUser, hashOfSecret, openUserStore, Passwords, type Role } from '@latchkey/api/users';
import type { OrderLimits } from '@latchkey/operations/contract';
import { Secret } from '@latchkey/protocol';
import { Registry } from '@latchkey/registry';
import { systemCode } from '@latchkey/runtime/failure';
import { type AdminFixture, MASTER } from '@latchkey/test-support/admin-fixture';
import { CapturedLog, tempFolder } from '@latchkey/test-support/fixtures';
import type { Cookie } from 'playwright-core';
import { inject, onTestFinished } from 'vitest';

type OidcConfig = NonNullable<ApiOptions['config']['oidc']>;

/** A thousandth of the cost of real passwords. */
const CHEAP = { N: 32, r: 8, p: 1 };
/** After which a session without a request ends. */
const IDLE_MS = 31 * 60_000;
/** After which keys need the password again. */
const SIGN_IN_AGE_MS = 6 * 60_000;

/** What a session consists of. */
interface BrowserSecrets {
  readonly cookie: Cookie;
  readonly secret: string;
}

export class ConsoleSite {
  readonly origin: string;
  /** Where the gateway brings commands. */
  readonly remoteSocket: string;
  readonly #fixture: AdminFixture;
  #aheadMs = 0;

  private constructor(fixture: AdminFixture, port: number, folder: string) {
    this.#fixture = fixture;
    this.remoteSocket = join(folder, 'remote.sock');
    this.origin = `http://localhost:${port}`;
  }

  /**
   * @param oidcFor the sign-in provider of a console of that origin
   * @param takesTokens whether commands reach the API
   */
  static async start(
    fixture: AdminFixture,
    oidcFor?: (origin: string) => Promise<OidcConfig>,
    takesTokens: boolean = false,
  ): Promise<ConsoleSite> {
    for (;;) {
      try {
        const site = new ConsoleSite(fixture, await freePort(), await tempFolder());
        await site.#serve(await oidcFor?.(site.origin), takesTokens);
        return site;
      } catch (error) {
        // Another process took the port in the meantime.
        if (systemCode((error as Error).cause) !== 'EADDRINUSE') throw error;
      }
    }
  }

  async #serve(oidc: OidcConfig | undefined, takesTokens: boolean): Promise<void> {
    const { folder } = this.#fixture.registry;
    const { port } = new URL(this.origin);
    const daemon = await startApi({
      config: {
        socket: join(await tempFolder(), 'api.sock'),
        local: {},
        ...(takesTokens && { remote: { socket: this.remoteSocket } }),
        browser: { listen: [{ host: '127.0.0.1', port: Number(port) }], origin: this.origin },
        oidc,
      },
      folder,
      consoleFolder: inject('consoleFolder'),
      registry: { open: () => Registry.open(folder, Secret.from(MASTER), 'api') },
      log: new CapturedLog().log,
      passwords: new Passwords(CHEAP),
      now: () => Date.now() + this.#aheadMs,
    });
    onTestFinished(() => daemon.stop());
  }

  /** Adds a user, and returns the address of the link that sets the password. */
  async addUser(name: string, role: Role, limits?: OrderLimits): Promise<string> {
    const { registry } = this.#fixture;
    const users = await openUserStore(registry.folder);
    const { url } = await addUser(
      {
        users,
        record: (event) => registry.actingAs('user root').record(event),
        actor: 'user root',
        registryRestoredAt: null,
        origin: this.origin,
      },
      name,
      role,
      limits,
    );
    await users.close();
    return url;
  }

  /** Sets a password by a one-time link, as its page does. Returns what the session consists of. */
  async redeemLink(link: string, password: string): Promise<BrowserSecrets> {
    const token = new URLSearchParams(new URL(link).hash.slice(1)).get('link');
    const answer = await fetch(`${this.origin}/v1/login/link`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', origin: this.origin },
      body: JSON.stringify({ token, password }),
    });
    const [cookie = ''] = answer.headers.getSetCookie();
    const [, name = '', value = ''] = /^([^=]+)=([^;]+);/.exec(cookie) ?? [];
    if (!answer.ok || name === '') throw new Error(`the link was answered ${answer.status}: ${await answer.text()}`);
    const { secret } = (await answer.json()) as { secret: string };
    const attributes = { domain: 'localhost', path: '/', expires: -1, httpOnly: true, secure: true, sameSite: 'Strict' } as const;
    return { cookie: { name, value, ...attributes }, secret };
  }

  /** Asks the API as a page of that session does: with a body by POST. */
  async ask(session: BrowserSecrets, path: string, body?: object): Promise<unknown> {
    const { cookie, secret } = session;
    const answer = await fetch(this.origin + path, {
      headers: {
        'content-type': 'application/json',
        origin: this.origin,
        cookie: `${cookie.name}=${cookie.value}`,
        'x-latchkey-session': secret,
      },
      ...(body === undefined ? {} : { method: 'POST', body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${path} was answered ${answer.status}: ${await answer.text()}`);
    return answer.json();
  }

  /** The password of a session was given more than five minutes ago, and the clock is right. */
  async ageSignIn(cookie: string): Promise<void> {
    const users = await openUserStore(this.#fixture.registry.folder);
    const hash = hashOfSecret(cookie);
    if (hash === undefined) throw new Error('the browser has no session');
    await users.updateSession(hash, { signedInAt: Date.now() - SIGN_IN_AGE_MS });
    await users.close();
  }

  /** Half an hour passes: every session ends. */
  endSessions(): void {
    this.#aheadMs += IDLE_MS;
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
