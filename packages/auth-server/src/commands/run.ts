import { CoapServer, ServerMetrics } from '@latchkey/coap';
import { createLog, type Daemon, type Log, type LogLevel, runDaemon, limitMemory } from '@latchkey/runtime/daemon';
import { type Endpoint, httpOption, type ListenAddress } from '@latchkey/runtime/net';
import { exists, nativeLocks } from '@latchkey/runtime/files';
import { listenOption, logLevelOption, withExamples } from '@latchkey/runtime/cli';
import { loadConfig } from '@latchkey/runtime/config';
import { Command } from 'commander';
import type { ApiConfig } from '@latchkey/api/config';
import { ApiProcess } from '../api-process.js';
import { type Config, configSchema } from '../config.js';
import { type EmbeddedAuthServer, startEmbedded } from '../embedded.js';
import { EmbeddedApi, type EmbeddedApiOptions } from '../embedded-api.js';
import { startKeySockets } from '../key-sockets.js';
import { locateRegistry, type RegistryLocation } from '../registry-location.js';
import { telemetryOf } from '../telemetry/telemetry.js';
import { requireRegistry } from '@latchkey/registry';
import { configOption, masterKeyOf, registryOptions, type RegistryOptions } from './registry-command.js';

/** In the audit log. */
const AUDIT_ACTOR = 'auth-server';

interface RunOptions extends RegistryOptions {
  readonly listen?: readonly Endpoint[];
  readonly logLevel?: LogLevel;
  readonly http?: ListenAddress;
  readonly api: boolean;
}

export function runCommand(): Command {
  const config = configOption('YAML configuration: registry, listen, log_level, memory, http, keys, key_overlap, api');
  const command = registryOptions(new Command('run').description('serve controllers until SIGTERM'), config)
    .option('--listen <host:port>', 'where to listen, may be given again (default [::]:5693)', listenOption)
    .addOption(logLevelOption())
    .option('--no-api', 'do not start the management API, though the configuration has `api:`')
    .addOption(httpOption('where to serve health and metrics: HOST:PORT of this machine, or unix:/path'))
    .action(run);
  return withExamples(
    command,
    'latchkey-auth-server run --data /var/lib/latchkey/auth-server',
    'latchkey-auth-server run --data ./data --listen 192.0.2.7:5693 --log-level debug',
    "latchkey-auth-server run --data 'postgres://latchkey@db1,db2,db3/latchkey?password_file=/etc/latchkey/db&ca=/etc/latchkey/db-ca.pem' --local-data ./data",
  );
}

async function run(options: RunOptions): Promise<void> {
  const config = await loadConfig(configSchema, options.config);
  const log = await createLog('auth-server', options.logLevel ?? config.log_level);
  const telemetry = { name: 'auth-server', http: options.http ?? config.http };
  await runDaemon(log, () => start(options, config, log), telemetry);
}

async function start(options: RunOptions, config: Config, log: Log): Promise<Daemon> {
  const location = await locateRegistry(options);
  if (location.postgres === undefined && !(await exists(location.folder))) await requireRegistry(location.folder);
  const embedded = await startEmbedded({
    ...location,
    readMasterKey: () => masterKeyOf(options),
    holder: 'latchkey-auth-server run',
    actor: AUDIT_ACTOR,
    log,
  });
  try {
    return await serve(options, config, { ...location, log }, embedded);
  } catch (error) {
    // Otherwise other servers of a database, and commands, would take this one for one that runs.
    await embedded.close().catch(() => undefined);
    throw error;
  }
}

async function serve(
  options: RunOptions,
  config: Config,
  { log, ...location }: RegistryLocation & { readonly log: Log },
  { registry, clock, server, telemetry, close }: EmbeddedAuthServer,
): Promise<Daemon> {
  const keySockets =
    config.keys.length === 0
      ? undefined
      : await startKeySockets({
          registry,
          server,
          clock,
          folder: location.folder,
          settings: config.keys,
          overlapMs: config.key_overlap,
          log,
        });
  const stopMemoryLimit = limitMemory(config.memory, log);
  const serverMetrics = new ServerMetrics();
  const sockets = await CoapServer.listenOnAll(options.listen ?? config.listen, {
    resourceType: 'latchkey.sbs',
    answer: ({ payload }) => server.answer(payload),
    log,
    metrics: serverMetrics,
  }).catch(async (error: unknown) => {
    await keySockets?.stop();
    throw error;
  });
  const api =
    config.api === undefined || !options.api ? undefined : startApi(options, config.api, { ...location, registry, log });
  return {
    telemetry: telemetryOf(server, telemetry, sockets, serverMetrics, keySockets?.telemetry),
    async stop() {
      const apiStopped = api?.stop();
      await Promise.all(sockets.map((socket) => socket.stop()));
      stopMemoryLimit();
      await apiStopped;
      await keySockets?.stop();
      await close();
    },
  };
}

/**
 * Starts the API in a separate process, which opens the registry like this one, and reads what the
 * environment names. Starts it in this process if the store belongs to one process only.
 */
function startApi(options: RunOptions, api: ApiConfig, embedded: Omit<EmbeddedApiOptions, 'config'>): ApiProcess | EmbeddedApi {
  const { log } = embedded;
  if (nativeLocks() === undefined) return new EmbeddedApi({ ...embedded, config: api });
  const { data, localData, config = '', masterKeyFile, masterKeyCommand, logLevel } = options;
  const [, program = ''] = process.argv;
  const masterKey =
    masterKeyCommand !== undefined
      ? ['--master-key-command', masterKeyCommand]
      : masterKeyFile === undefined
        ? []
        : ['--master-key-file', masterKeyFile];
  const local = localData === undefined ? [] : ['--local-data', localData];
  const level = logLevel === undefined ? [] : ['--log-level', logLevel];
  return new ApiProcess({
    args: [...process.execArgv, program, 'api', '--data', data, ...local, '--config', config, ...masterKey, ...level],
    log,
  });
}
