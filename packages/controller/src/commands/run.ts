import { join } from 'node:path';
import { EmbeddedApi, type RegistryTelemetry, startEmbedded } from '@latchkey/auth-server';
import { COMBINED_MODE_HOLDER, type Registry } from '@latchkey/registry';
import { formatId, Respondent } from '@latchkey/protocol';
import type { Check } from '@latchkey/runtime/telemetry';
import { ClientMetrics, CoapServer, ServerMetrics } from '@latchkey/coap';
import {
  createLog,
  type Daemon,
  randomOctets,
  type Log,
  type LogLevel,
  readClock,
  repeat,
  runDaemon,
  limitMemory,
} from '@latchkey/runtime/daemon';
import { type Credential, readCredential } from '@latchkey/provisioning';
import { openKeySockets } from '@latchkey/key-delivery';
import { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { type Endpoint, formatEndpoint, httpOption, type ListenAddress } from '@latchkey/runtime/net';
import { exists, lockFolder, ensurePrivateFolder } from '@latchkey/runtime/files';
import { Failure, UsageFailure } from '@latchkey/runtime/failure';
import { listenOption, logLevelOption, withExamples } from '@latchkey/runtime/cli';
import { loadConfig } from '@latchkey/runtime/config';
import { findMasterKey, readMasterKey, readOrCreateMasterKey } from '@latchkey/keyring';
import { Command } from 'commander';
import { type Config, configSchema } from '../config.js';
import { Controller } from '../controller.js';
import { OWN_SOCKET } from '../daemon-keys.js';
import { type AuthServerClient, InProcessAuthServerClient, CoapAuthServerClient } from '../auth-server-client.js';
import { KeyFeed } from '../key-feed.js';
import { telemetryOf } from '../telemetry.js';
import { holdsPsks } from '../former-stores.js';
import { rotateCommand, TidAllocator } from '../tid-allocator.js';
import { applicationRootStorePath, masterKeySourceOf, pskStorePaths, type StateOptions, stateOptions } from './state.js';

const SERIALS_FILE = 'serials.json';
/**
 * Grace period of pending requests to an auth-server when the controller stops, in ms. Waiting for
 * a silent auth-server would exceed a daemon's stop timeout.
 */
const UPSTREAM_GRACE_MS = 5_000;
const NOT_REPLACED =
  'Was the file put in the place of the old one? A unit of systemd gets what is in /etc/credstore when it is restarted.';

interface RunOptions extends StateOptions {
  readonly credential: string;
  readonly config?: string;
  readonly listen?: readonly Endpoint[];
  readonly logLevel?: LogLevel;
  readonly http?: ListenAddress;
}

export function runCommand(): Command {
  const command = stateOptions(new Command('run').description('serve nodes until SIGTERM'))
    .requiredOption('--credential <file>', 'what `latchkey-auth-server controller add` wrote; read anew on SIGHUP')
    .option(
      '--config <file>',
      'YAML configuration: mode, registry, registry_master_key_file, servers, listen, log_level, memory, key_feed, key_overlap, max_unverified, bounds, http, keys, api',
    )
    .option('--listen <host:port>', 'where to listen, may be given again (default [::]:5683)', listenOption)
    .addOption(logLevelOption())
    .addOption(httpOption('where to serve health and metrics: HOST:PORT of this machine, or unix:/path'))
    .action(run);
  return withExamples(
    command,
    'latchkey-controller run --credential controller-1.json --state /var/lib/latchkey/controller',
    'latchkey-controller run --credential c.json --state ./state --listen 192.0.2.1:5683 --listen [2001:db8::1]:5683',
  );
}

async function run(options: RunOptions): Promise<void> {
  const config = await loadConfig(configSchema, options.config);
  const log = await createLog('controller', options.logLevel ?? config.log_level);
  await runDaemon(log, () => start(options, config, log), { name: 'controller', http: options.http ?? config.http });
}

async function start(options: RunOptions, config: Config, log: Log): Promise<Daemon> {
  const credential = await readCredential(options.credential);
  await ensurePrivateFolder(options.state);
  const lock = await lockFolder(options.state, `latchkey-controller run for ${formatId(credential.idC)}`);
  const {
    client,
    checks: linkChecks,
    upstreamMetrics,
    registry,
    startApi,
    closeRegistry,
  } = await openAuthServerClient(credential, config, log);
  // Opened first, because this file names the controller to which the state folder belongs.
  const tids = await TidAllocator.open(join(options.state, SERIALS_FILE), credential, readClock().wallMs, log);
  const applicationRoots = await openApplicationRootStore(options, config, log);
  const keyServer = await openKeySockets({
    source: applicationRoots,
    settings: config.keys,
    ownSocket: join(options.state, OWN_SOCKET),
    log,
  });
  const respondent = new Respondent({
    idC: credential.idC,
    skCs: credential.skCs,
    bounds: { total: config.bounds.transactions, perSource: config.bounds.per_source },
    randomBytes: randomOctets,
    nextTid: () => tids.next(),
  });
  const keyFeed = new KeyFeed({
    idC: credential.idC,
    skCs: credential.skCs.copy(),
    nextTid: () => tids.next(),
    randomBytes: randomOctets,
    authServer: client,
    store: applicationRoots,
    clock: readClock,
    log,
    intervalMs: config.key_feed,
    maxUnverifiedMs: config.max_unverified,
  });
  const controller = new Controller({ respondent, authServer: client, applicationRoots, keyFeed, clock: readClock, log });
  const serverMetrics = new ServerMetrics();
  const sockets = await CoapServer.listenOnAll(options.listen ?? config.listen, {
    resourceType: 'latchkey.sbr',
    validateAddresses: true,
    answer: (request) => controller.answer(request),
    isExpected: (payload, source) => respondent.expectsM5(payload, source),
    log,
    metrics: serverMetrics,
  });
  keyFeed.start();
  // After all that may keep this process from starting: a change is not to be cut off by that.
  const api = startApi?.();
  const stopFunctions = [keepUp(applicationRoots, keyFeed, log), limitMemory(config.memory, log)];
  let current = credential;
  return {
    telemetry: telemetryOf({
      controller,
      respondent,
      maxTransactions: config.bounds.transactions,
      applicationRoots,
      keyFeed,
      tids,
      sockets,
      keyServer,
      serverMetrics,
      upstreamMetrics,
      linkChecks,
      registry,
    }),
    async reload() {
      void keyFeed.askNow();
      const next = await readCredential(options.credential);
      if (next.idC !== current.idC) {
        next.skCs.wipe();
        throw new UsageFailure(
          `${options.credential} is the credential of controller ${formatId(next.idC)}, not ${formatId(current.idC)}`,
          {
            advice: 'Start another controller for it.',
          },
        );
      }
      const [before, servers] = [current, next].map((one) => one.servers.map(formatEndpoint).join(', '));
      if (next.skCs.equals(current.skCs) && before === servers) {
        next.skCs.wipe();
        log.info({ key: current.skCs.fingerprint, advice: NOT_REPLACED }, 'credential read anew: nothing has changed');
        return;
      }
      const turns = client instanceof CoapAuthServerClient && config.servers === undefined && next.servers.length > 0;
      if (turns) client.setServers(next.servers);
      // Before it is wiped.
      const keyBefore = current.skCs.fingerprint;
      tids.rekey(next.skCs);
      keyFeed.rekey(next.skCs.copy());
      controller.rekey(next.skCs);
      log.info({ keyBefore, key: next.skCs.fingerprint, servers: turns ? servers : undefined }, 'credential read anew');
      current = next;
    },
    async stop() {
      const apiStopped = api?.stop();
      const grace = setTimeout(() => void client.close(), UPSTREAM_GRACE_MS);
      await Promise.all(sockets.map((socket) => socket.stop()));
      clearTimeout(grace);
      const feedStopped = keyFeed.stop();
      await controller.stop();
      await feedStopped;
      for (const stop of stopFunctions) stop();
      await keyServer?.close();
      await tids.close();
      await applicationRoots.close();
      await apiStopped;
      await closeRegistry();
      await lock.release();
    },
  };
}

/**
 * The store of the nodes' application roots; its master key is made with it. PSKs that lie there
 * from earlier are the operator's to remove.
 */
async function openApplicationRootStore(options: StateOptions, config: Config, log: Log): Promise<ApplicationRootStore> {
  for (const former of pskStorePaths(options.state)) if (await exists(former)) throw holdsPsks(former);
  const path = applicationRootStorePath(options.state);
  const source = await masterKeySourceOf(options);
  const master = (await exists(path)) ? await readMasterKey(source) : await readOrCreateMasterKey(source);
  const applicationRoots = await ApplicationRootStore.openOrReplace(path, master, log, { overlapMs: config.key_overlap });
  await applicationRoots.announceAdoption();
  return applicationRoots;
}

/**
 * Takes up another master key when a command replaces it, and writes the keys that the disk did not
 * take.
 */
function keepUp(applicationRoots: ApplicationRootStore, keyFeed: KeyFeed, log: Log): () => void {
  const stops = [
    repeat({ what: 'to follow the master key', everyMs: 1_000, log, action: () => applicationRoots.announceAdoption() }),
    repeat({
      what: 'to store keys that waited for the disk',
      everyMs: 1_000,
      log,
      action: () => writeAgain(applicationRoots, log),
    }),
    repeat({ what: 'to look for a sync', everyMs: 500, log, action: () => syncIfAsked(applicationRoots, keyFeed) }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}

/** For `latchkey-controller sync`. */
async function syncIfAsked(applicationRoots: ApplicationRootStore, keyFeed: KeyFeed): Promise<void> {
  const token = applicationRoots.pendingSync;
  if (token === undefined) return;
  const isComplete = await keyFeed.askNow();
  await applicationRoots.saveSyncOutcome({ token, isComplete });
}

async function writeAgain(applicationRoots: ApplicationRootStore, log: Log): Promise<void> {
  try {
    const keys = await applicationRoots.writeAgain();
    if (keys > 0) log.info({ keys }, 'keys that waited for the disk are stored');
  } catch (error) {
    // The failure was logged when the node joined.
    if (!(error instanceof Failure)) throw error;
  }
}

interface OpenedAuthServerClient {
  readonly client: AuthServerClient;
  /** Whether M2 and M7 get answers that help. */
  readonly checks: readonly Check[];
  /** What is counted of questions to auth-servers. */
  readonly upstreamMetrics: ClientMetrics;
  /** In combined mode. */
  readonly registry?: RegistryTelemetry;
  /** In combined mode with `api:`. Stop it before the registry is closed. */
  readonly startApi?: () => EmbeddedApi;
  readonly closeRegistry: () => Promise<void>;
}

async function openAuthServerClient(credential: Credential, config: Config, log: Log): Promise<OpenedAuthServerClient> {
  if (config.mode === 'combined' && config.registry !== undefined) return openCombined(credential, config, config.registry, log);
  const servers = config.servers ?? credential.servers;
  if (servers.length === 0) {
    throw new UsageFailure('no auth-server is named', {
      advice:
        'Name one under `servers:` of the configuration, or for good with `controller set` and `controller rotate` on the auth-server, or set `mode: combined`.',
    });
  }
  const client = new CoapAuthServerClient(servers, log);
  return {
    client,
    checks: [
      { name: 'auth_server', watchdog: 'reported', run: () => client.checkReachability() },
      { name: 'clock', watchdog: 'reported', run: () => client.lookAtClock(), cacheMs: 0 },
    ],
    upstreamMetrics: client.metrics,
    closeRegistry: () => Promise.resolve(),
  };
}

async function openCombined(credential: Credential, config: Config, folder: string, log: Log): Promise<OpenedAuthServerClient> {
  const source = await findMasterKey(
    config.registry_master_key_file === undefined ? {} : { masterKeyFile: config.registry_master_key_file },
    'registry-master-key',
    folder,
  );
  if (!(await exists(folder)))
    throw new UsageFailure(`the registry ${folder} is not there`, {
      advice: 'Check the path: `registry:` of the configuration. How a new registry is made:',
      run: [['latchkey-auth-server', 'init', '--help']],
    });
  const { registry, server, telemetry, close } = await startEmbedded({
    folder,
    readMasterKey: () => readMasterKey(source),
    holder: COMBINED_MODE_HOLDER,
    actor: `controller ${formatId(credential.idC)}`,
    log,
    check: (opened) => requireKeyAccess(opened, credential, folder),
  });
  const { api } = config;
  return {
    client: new InProcessAuthServerClient(server),
    checks: telemetry.checks,
    upstreamMetrics: new ClientMetrics(),
    registry: telemetry,
    ...(api !== undefined && { startApi: () => new EmbeddedApi({ config: api, folder, registry, log }) }),
    closeRegistry: close,
  };
}

/** Throws if the registry does not hold the credential, or its controller is pass-through. */
async function requireKeyAccess(registry: Registry, { idC, skCs }: Credential, folder: string): Promise<void> {
  const id = formatId(idC);
  if (!(await registry.hasCredential(idC, skCs))) {
    throw new UsageFailure(`the registry in ${folder} does not have controller ${id} with this credential`, {
      advice: 'Use the credential that was written for this registry last. If it is lost, write another:',
      run: [rotateCommand(idC, folder)],
    });
  }
  if ((await registry.controllerRow(idC))?.passThrough === true) {
    throw new UsageFailure(`controller ${id} is pass-through, and in combined mode it would hold every key itself`, {
      advice: 'Run an auth-server on the registry and this controller with `mode: relay`, or, if it may have the keys:',
      run: [['latchkey-auth-server', 'controller', 'set', id, '--pass-through', 'off', '--data', folder]],
    });
  }
}
