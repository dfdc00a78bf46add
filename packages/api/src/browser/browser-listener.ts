/** The listeners for browsers: sessions, users, the console's files, and every route of the API. */

import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Log } from '@latchkey/runtime/daemon';
import { Failure, listenFailure } from '@latchkey/runtime/failure';
import { type Endpoint, formatEndpoint, unmapIPv4 } from '@latchkey/runtime/net';
import { actorOf } from '../access.js';
import { addLoginDecisionRoutes } from '../command-login/command-login-routes.js';
import type { CommandLogins } from '../command-login/command-logins.js';
import { Problem } from '../problem.js';
import type { RegistryAccess } from '../registry-access.js';
import { buildServer, type ServerOptions } from '../server.js';
import type { TokenAdministration } from '../tokens/administration.js';
import { forwardedAddress } from '../tokens/networks.js';
import type { TokenStore } from '../tokens/token-store.js';
import type { UserAdministration } from '../users/administration.js';
import type { Passwords } from '../users/password.js';
import { Sessions } from '../users/sessions.js';
import type { UserStore } from '../users/user-store.js';
import { browserRules } from './browser-rules.js';
import { addConsoleRoutes, type ConsoleFiles } from './console-files.js';
import type { OidcSignIn } from '../oidc/oidc-sign-in.js';
import { addOidcRoutes } from './oidc-routes.js';
import { addFilterRoutes } from './filter-routes.js';
import { addSessionRoutes } from './session-routes.js';
import { addTokenRoutes } from './token-routes.js';
import { addUserRoutes } from './user-routes.js';

export interface BrowserSessionsOptions {
  readonly registry: RegistryAccess;
  readonly users: UserStore;
  readonly passwords: Passwords;
  readonly log: Log;
  readonly monotonicMs?: (() => number) | undefined;
  /** ms since the epoch */
  readonly now?: (() => number) | undefined;
}

/** Sessions that every listener for browsers shares. */
export function openSessions({ registry, ...options }: BrowserSessionsOptions): Sessions {
  return new Sessions({
    ...options,
    registryRestoredAt: () => restoredAtOf(registry),
    record: (event, actor) => registry.use((opened) => opened.actingAs(actor).record(event)),
    addressOf,
  });
}

/**
 * On a unix socket the proxy reports the browser's address. On loopback a reported address is
 * ignored.
 */
function addressOf({ raw, headers }: FastifyRequest): string | undefined {
  const { remoteAddress } = raw.socket;
  if (remoteAddress !== undefined && remoteAddress !== '') return unmapIPv4(remoteAddress);
  return forwardedAddress(headers);
}

export interface BrowserListenerOptions extends Omit<ServerOptions, 'checkRequest' | 'authenticate' | 'challenge' | 'extend'> {
  /** Of the console, e.g. `http://localhost:8080`. */
  readonly origin: string;
  readonly users: UserStore;
  readonly tokens: TokenStore;
  /** Whether the API has a socket for callers with tokens. */
  readonly takesTokens: boolean;
  /** `undefined`: the API has no such socket, and signs in no command. */
  readonly commandLogins: CommandLogins | undefined;
  readonly sessions: Sessions;
  /** `undefined`: persons sign in with passwords only. */
  readonly oidc: OidcSignIn | undefined;
  /** `undefined`: the API only. */
  readonly files: ConsoleFiles | undefined;
}

/** A server that listens nowhere yet. */
export function buildBrowserListener(options: BrowserListenerOptions): FastifyInstance {
  const { origin, users, tokens, takesTokens, commandLogins, sessions, oidc, files, ...shared } = options;
  const { registry } = shared;
  const administrationOf = async ({ principal }: FastifyRequest): Promise<UserAdministration & TokenAdministration> => {
    if (principal === null) throw new Problem('not-authenticated');
    return {
      users,
      tokens,
      record: (event) => registry.use((opened) => opened.actingAs(actorOf(principal)).record(event)),
      actor: actorOf(principal),
      registryRestoredAt: await restoredAtOf(registry),
      origin,
    };
  };
  return buildServer({
    ...shared,
    checkRequest: browserRules(origin),
    authenticate: (request) => sessions.authenticate(request),
    extend(server) {
      addSessionRoutes(server, sessions, oidc);
      if (oidc !== undefined) addOidcRoutes(server, sessions, oidc);
      addUserRoutes(server, administrationOf);
      addTokenRoutes(server, { sessions, administrationOf, takesTokens });
      addFilterRoutes(server, sessions, users.filters);
      if (commandLogins !== undefined) addLoginDecisionRoutes(server, sessions, commandLogins);
      if (files === undefined) return;
      addConsoleRoutes(server, files);
      // Below /v1 a path that does not exist is answered as on the other sockets.
      server.get('/v1/*', { config: { scope: 'own' } }, async () => {
        throw new Problem('not-found');
      });
    },
  });
}

function restoredAtOf(registry: RegistryAccess): Promise<number | null> {
  return registry.use(({ restored }) => restored?.at ?? null);
}

/** Returns the address. */
export async function listenOnLoopback(server: FastifyInstance, endpoint: Endpoint): Promise<string> {
  try {
    await server.listen(endpoint);
  } catch (error) {
    const { message, advice, cause } = listenFailure(
      `cannot serve the console on ${formatEndpoint(endpoint)}`,
      'listen',
      endpoint.port,
      error,
    );
    if (advice === undefined) throw new Failure(message, { cause });
    throw new Failure(message, {
      cause,
      advice: advice.replace(/ with --listen.*$/, ' with `listen:` below `browser:` of the configuration.'),
    });
  }
  const bound = server.server.address();
  const port = bound !== null && typeof bound === 'object' ? bound.port : endpoint.port;
  return formatEndpoint({ host: endpoint.host, port });
}
