import {
  CoapServer,
  createLog,
  type Daemon,
  randomOctets,
  type Endpoint,
  exists,
  httpOption,
  type ListenAddress,
  listenOption,
  loadConfig,
  lockFolder,
  type Log,
  type LogLevel,
  logLevelOption,
  readClock,
  runDaemon,
  ServerMetrics,
  limitMemory,
  withExamples,
} from '@latchkey/runtime';
import { Command } from 'commander';
import { tellHead } from '../audit-head.js';
import { AuthServer } from '../auth-server.js';
import { configSchema } from '../config.js';
import { observe, RegistryObservation } from '../observation.js';
import { Registry, requireRegistry } from '../registry.js';
import { watchStore } from '../store-watch.js';
import { upgrade } from '../upgrade.js';
import { masterKeyOf, registryOptions, type RegistryOptions } from './with-registry.js';

/** In the audit log. */
const WHO = 'auth-server';

interface RunOptions extends RegistryOptions {
  readonly config?: string;
  readonly listen?: readonly Endpoint[];
  readonly logLevel?: LogLevel;
  readonly http?: ListenAddress;
}

export function runCommand(): Command {
  const command = registryOptions(new Command('run').description('serve controllers until SIGTERM'))
    .option('--config <file>', 'YAML configuration: listen, log_level, memory, http')
    .option('--listen <host:port>', 'where to listen, may be given again (default [::]:5693)', listenOption)
    .addOption(logLevelOption())
    .addOption(httpOption('where to serve health and metrics: HOST:PORT of this machine, or unix:/path'))
    .action(run);
  return withExamples(
    command,
    'latchkey-auth-server run --data /var/lib/latchkey/auth-server',
    'latchkey-auth-server run --data ./data --listen 192.0.2.7:5693 --log-level debug',
  );
}

async function run(options: RunOptions): Promise<void> {
  const config = await loadConfig(configSchema, options.config);
  const log = await createLog('auth-server', options.logLevel ?? config.log_level);
  const outlook = { name: 'auth-server', http: options.http ?? config.http };
  await runDaemon(log, () => start(options, options.listen ?? config.listen, config.memory, log), outlook);
}

async function start(options: RunOptions, listen: readonly Endpoint[], memory: number, log: Log): Promise<Daemon> {
  const { data: folder } = options;
  if (!(await exists(folder))) await requireRegistry(folder);
  const lock = await lockFolder(folder, 'latchkey-auth-server run');
  await upgrade(folder, () => masterKeyOf(options), WHO, log);
  const registry = await Registry.open(folder, await masterKeyOf(options), WHO);
  await registry.tellServing();
  tellHead(registry, log);
  const server = new AuthServer({ registry, clock: readClock, draw: randomOctets, log });
  await server.keepTime();
  const unwatch = [watchStore(registry, server, log), limitMemory(memory, log)];
  const counts = new ServerMetrics();
  const sockets = await CoapServer.listenOnAll(listen, {
    resourceType: 'latchkey.sbs',
    answer: ({ payload }) => server.answer(payload),
    log,
    metrics: counts,
  });
  const seen = new RegistryObservation(registry, server, log);
  return {
    telemetry: observe(server, seen, sockets, counts),
    async stop() {
      await Promise.all(sockets.map((socket) => socket.stop()));
      for (const stop of unwatch) stop();
      seen.close();
      await server.close();
      await registry.close();
      await lock.release();
    },
  };
}
