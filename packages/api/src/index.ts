/** The management API: operations on the registry over HTTP. */

import type { FastifyInstance } from 'fastify';
import type { ExposureView } from '@latchkey/operations/contract';
import { type AuditEvent, Registry } from '@latchkey/registry';
import { type Daemon, type Log, repeat } from '@latchkey/runtime/daemon';
import { UsageFailure } from '@latchkey/runtime/failure';
import { type AgeKeyPair, generateRecipient } from '@latchkey/provisioning';
import { type FileLock, lockFolder, nativeLocks, readFolderLock, readPrivateFile } from '@latchkey/runtime/files';
import { findUserId, hasIdentityIdMaps, openPeerCredentials } from '@latchkey/runtime/net';
import { addCommandLoginRoutes } from './command-login/command-login-routes.js';
import { CommandLogins } from './command-login/command-logins.js';
import { AuditExports } from './audit-exports.js';
import type { ApiConfig } from './config.js';
import { buildBrowserListener, listenOnLoopback, openSessions } from './browser/browser-listener.js';
import { readConsoleFiles } from './browser/console-files.js';
import { EventStreams } from './events/event-streams.js';
import { IdempotentRequests } from './jobs/idempotency.js';
import { Jobs } from './jobs/jobs.js';
import { KeyFiles } from './jobs/key-files.js';
import { ensureRequestFolder, RequestStore } from './jobs/request-store.js';
import { openInstallerStore } from './installers/installer-store.js';
import { limitLargeBodies } from './large-bodies.js';
import { KeptResults } from './kept-results.js';
import { Listeners, listenOnSocket } from './listeners.js';
import { LocalCallers, refuseForwarded } from './local-socket.js';
import { LocalUsers } from './local-users.js';
import { ROUTES } from './routes.js';
import type { OidcConfig } from './oidc/config.js';
import { type OidcOptions, OidcSignIn } from './oidc/oidc-sign-in.js';
import { OpaqueValues } from './opaque.js';
import { DaemonRegistry, type RegistryAccess, ReopenedRegistry } from './registry-access.js';
import { RegistryWalks } from './registry-walks.js';
import { refuseBrowsers, RemoteCallers } from './remote-callers.js';
import { openTokenStore } from './tokens/token-store.js';
import { buildServer } from './server.js';
import { Passwords } from './users/password.js';
import { openUserStore } from './users/user-store.js';

/** How a separate process opens the registry. */
export interface RegistryOpener {
  /** Reads the master key and opens the registry. */
  readonly open: () => Promise<Registry>;
  /** Its store is then never replaced. */
  readonly isInDatabase?: boolean;
}

/** Interval at which the index is updated, in ms, so that a list after a quiet day is not slow. */
const MAINTENANCE_INTERVAL_MS = 10_000;
/**
 * Grace period of pending requests when the API stops, in ms. A daemon with an embedded API has 10
 * s to stop, and closes the registry after it.
 */
const STOP_GRACE_MS = 4_000;
const ONE_API =
  'One API serves a registry. Where `api` is a service of its own, start `run` with --no-api, or leave the service out.';

export interface ApiOptions {
  readonly config: ApiConfig;
  /** Of the registry, or of this machine if the registry is in a database. */
  readonly folder: string;
  /** That of the daemon which the API is inside of, or how to open one. */
  readonly registry: Registry | RegistryOpener;
  readonly log: Log;
  /** The built console, if the configuration names none. */
  readonly consoleFolder?: string | undefined;
  /** Of the rate limits: a monotonic clock, in ms. */
  readonly monotonicMs?: () => number;
  /** Of sessions, ms since the epoch. */
  readonly now?: () => number;
  readonly passwords?: Passwords;
}

/**
 * Serves the API until it is stopped.
 *
 * @throws Failure if it cannot; nothing is left open then
 */
export async function startApi(options: ApiOptions): Promise<Daemon> {
  const { config, folder, log, consoleFolder, monotonicMs, now, passwords = new Passwords() } = options;
  const users = new LocalUsers({
    roles: config.local,
    ownUid: process.getuid?.() ?? 0,
    hasIdentityIdMaps: hasIdentityIdMaps(),
    findUserId,
  });
  const local = new LocalCallers(users, openPeerCredentials());
  const registry = accessTo(options);
  const listeners = new Listeners();
  const { servers } = listeners;
  /** What is open, latest first. */
  const closers = [() => registry.close()];
  let stopServing = async (): Promise<void> => undefined;
  const stop = async (): Promise<void> => {
    await stopServing();
    for (const close of closers) await close();
  };
  try {
    // A registry that cannot be opened is an error at the start.
    await registry.use(() => undefined);
    const lock = await lockRequests(folder, options.registry);
    closers.unshift(() => lock.release());
    const requests = await RequestStore.open(folder);
    closers.unshift(() => requests.close());
    const installers = await openInstallerStore(folder);
    closers.unshift(() => installers.close());
    const walks = new RegistryWalks();
    const opaque = new OpaqueValues();
    const jobs = new Jobs(registry, walks, requests, log);
    const keyFiles = new KeyFiles();
    const events = new EventStreams({ registry, opaque, log });
    const exposures = new KeptResults<ExposureView>();
    const stopMaintenance = repeat({
      what: 'to follow the registry',
      everyMs: MAINTENANCE_INTERVAL_MS,
      log,
      action: () => registry.use((opened) => opened.maintain()),
    });
    stopServing = async () => {
      stopMaintenance();
      // A server waits for the answers that it is sending.
      await events.close();
      await Promise.all([closeServers(servers), jobs.close()]);
      exposures.close();
      // A request whose caller has gone ends once it notices.
      await registry.unused();
      keyFiles.close();
    };
    await jobs.lookUpInterrupted();
    let importKeys: Promise<AgeKeyPair> | undefined;
    const shared = {
      routes: ROUTES,
      registry,
      services: {
        opaque,
        walks,
        events,
        auditExports: new AuditExports(),
        installers,
        jobs,
        keyFiles,
        idempotentRequests: new IdempotentRequests(requests),
        largeBodies: limitLargeBodies(),
        importKeys: () => (importKeys ??= generateRecipient()),
        exposures,
        readServerState: () => readFolderLock(folder),
      },
      opened: listeners.opened,
      log,
      monotonicMs,
    };
    const localServer = buildServer({
      ...shared,
      checkRequest: refuseForwarded,
      authenticate: (request) => local.authenticate(request),
    });
    listeners.add(localServer, {
      listen: () => listenOnSocket(localServer, config, 'api.group'),
      onOpen: (address) => log.info({ api: address }, 'serving the API'),
    });
    if (config.remote !== undefined || config.browser !== undefined) {
      const tokens = await openTokenStore(folder);
      closers.push(() => tokens.close());
      const users = await openUserStore(folder);
      closers.push(() => users.close());
      const { remote: remoteConfig, browser } = config;
      const registryRestoredAt = (): Promise<number | null> => registry.use(({ restored }) => restored?.at ?? null);
      const record = (event: AuditEvent, actor: string): Promise<void> =>
        registry.use((opened) => opened.actingAs(actor).record(event));
      // A command asks on the one, and a person decides on the other.
      const commandLogins =
        remoteConfig === undefined || browser === undefined
          ? undefined
          : new CommandLogins({ tokens, users, record, registryRestoredAt, origin: browser.origin, monotonicMs });
      if (remoteConfig !== undefined) {
        const remote = new RemoteCallers({ tokens, users, registryRestoredAt, log, monotonicMs });
        closers.unshift(() => remote.close());
        const server = buildServer({
          ...shared,
          checkRequest: refuseBrowsers,
          authenticate: (request) => remote.authenticate(request),
          challenge: 'Bearer',
          ...(commandLogins && { extend: (remoteServer) => addCommandLoginRoutes(remoteServer, commandLogins) }),
        });
        listeners.add(server, {
          listen: () => listenOnSocket(server, remoteConfig, 'api.remote.group'),
          onOpen: (address) => log.info({ api: address }, 'serving the API to callers with tokens'),
        });
      }
      if (browser !== undefined) {
        const { origin, console: folderOfConsole = consoleFolder, socket, group } = browser;
        const sessions = openSessions({ registry, users, passwords, log, monotonicMs, now });
        closers.unshift(() => sessions.close());
        const oidc = config.oidc && (await openOidc(config.oidc, { origin, log, now }));
        const files = folderOfConsole === undefined ? undefined : await readConsoleFiles(folderOfConsole);
        const takesTokens = remoteConfig !== undefined;
        const addBrowserListener = (listen: (server: FastifyInstance) => Promise<string>): void => {
          const server = buildBrowserListener({
            ...shared,
            origin,
            users,
            tokens,
            takesTokens,
            commandLogins,
            sessions,
            oidc,
            files,
          });
          listeners.add(server, {
            listen: () => listen(server),
            onOpen: (address) => log.info({ address, origin, console: folderOfConsole }, 'serving the API to browsers'),
          });
        };
        for (const endpoint of browser.listen) addBrowserListener((server) => listenOnLoopback(server, endpoint));
        if (socket !== undefined) addBrowserListener((server) => listenOnSocket(server, { socket, group }, 'api.browser.group'));
      }
    }
    await listeners.open();
  } catch (error) {
    listeners.refuse();
    await stop();
    throw error;
  }
  return daemonOf(servers, registry, stop);
}

/** A second API would take jobs of the first one for interrupted. */
async function lockRequests(folder: string, registry: ApiOptions['registry']): Promise<FileLock> {
  const holder = registry instanceof Registry ? 'the API inside a daemon' : 'latchkey-auth-server api';
  return lockFolder(await ensureRequestFolder(folder), holder, ONE_API);
}

/** Waits for pending requests and for slow clients, up to a bound. */
async function closeServers(servers: readonly FastifyInstance[]): Promise<void> {
  const cut = setTimeout(() => {
    for (const { server } of servers) server.closeAllConnections();
  }, STOP_GRACE_MS);
  await Promise.all(servers.map((server) => server.close()));
  clearTimeout(cut);
}

function accessTo({ registry, folder, log }: ApiOptions): RegistryAccess {
  if (registry instanceof Registry) {
    void prepareLists(registry, log);
    return new DaemonRegistry(registry);
  }
  if (nativeLocks() === undefined)
    throw new UsageFailure('the API cannot run beside a server on this machine: its store belongs to one process', {
      advice: 'Write `api:` into the configuration of the server, which then serves the API itself.',
    });
  const { open, isInDatabase = false } = registry;
  return new ReopenedRegistry(isInDatabase ? undefined : folder, open, (opened) => void prepareLists(opened, log));
}

/**
 * Begins with the index of nodes before anybody asks for a list. Other requests are answered in
 * between.
 */
async function prepareLists(registry: Registry, log: Log): Promise<void> {
  try {
    await registry.prepareLists();
  } catch (error) {
    // Closed, by a stop or a restore, or damaged: a list that is asked for says so.
    log.debug({ error: error instanceof Error ? error.message : String(error) }, 'the index of nodes was not made');
  }
}

function daemonOf(servers: readonly FastifyInstance[], registry: RegistryAccess, stop: () => Promise<void>): Daemon {
  return {
    telemetry: {
      isServing: () => servers.every(({ server }) => server.listening),
      checks: [{ name: 'registry', watchdog: 'required', run: () => requireReadable(registry) }],
      metrics: [],
    },
    stop,
  };
}

const MAX_CLIENT_SECRET = 4_096;

async function openOidc(config: OidcConfig, options: Pick<OidcOptions, 'origin' | 'log' | 'now'>): Promise<OidcSignIn> {
  const { client_secret_file: path } = config;
  const clientSecret = (await readPrivateFile(path, MAX_CLIENT_SECRET)).trim();
  if (clientSecret === '') throw new UsageFailure(`${path} is empty`, { advice: 'Put the client secret of the provider there.' });
  return new OidcSignIn({ ...options, config, clientSecret });
}

/** Throws if the registry cannot be read. */
async function requireReadable(registry: RegistryAccess): Promise<undefined> {
  await registry.use((opened) => opened.refresh());
}
