import { randomBytes } from 'node:crypto';
import {
  CoapServer,
  createLog,
  type Daemon,
  type Endpoint,
  exists,
  listenOption,
  loadConfig,
  lockFolder,
  type Log,
  type LogLevel,
  logLevelOption,
  readClock,
  runDaemon,
  watchMemory,
  withExamples,
} from '@latchkey/runtime';
import { Command } from 'commander';
import { AuthServer } from '../auth-server.js';
import { configSchema } from '../config.js';
import { formatHead } from '../audit.js';
import { Registry, requireRegistry } from '../registry.js';
import { watchStore } from '../store-watch.js';
import { upgrade } from '../upgrade.js';
import { masterKeyOf, registryOptions, type RegistryOptions } from './with-registry.js';

/** Entries, some 400 octets each, from which on the log asks to be pruned: 4 GB. */
const LONG_AUDIT_LOG = 10_000_000;
/** In the audit log. */
const WHO = 'auth-server';

interface RunOptions extends RegistryOptions {
  readonly config?: string;
  readonly listen?: readonly Endpoint[];
  readonly logLevel?: LogLevel;
}

export function runCommand(): Command {
  const command = registryOptions(new Command('run').description('serve controllers until SIGTERM'))
    .option('--config <file>', 'YAML configuration: listen, log_level')
    .option('--listen <host:port>', 'where to listen, may be given again (default [::]:5693)', listenOption)
    .addOption(logLevelOption())
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
  await runDaemon(log, () => start(options, options.listen ?? config.listen, config.memory, log));
}

async function start(options: RunOptions, listen: readonly Endpoint[], memory: number, log: Log): Promise<Daemon> {
  const { data: folder } = options;
  if (!(await exists(folder))) await requireRegistry(folder);
  const lock = await lockFolder(folder, 'latchkey-auth-server run');
  await upgrade(folder, () => masterKeyOf(options), WHO, log);
  const registry = await Registry.open(folder, await masterKeyOf(options), WHO);
  await registry.tellServing();
  const { head } = registry.audit;
  if (head !== undefined) log.info({ head: formatHead(head) }, 'audit log');
  if (registry.audit.length > LONG_AUDIT_LOG)
    log.warn({ entries: registry.audit.length }, 'the audit log is long: keep its old entries elsewhere, with `audit prune`');
  const server = new AuthServer({ registry, clock: readClock, draw: randomBytes, log });
  const unwatch = [watchStore(registry, log), watchMemory(memory, log)];
  const sockets = await CoapServer.listenOnAll(listen, {
    resourceType: 'latchkey.sbs',
    answer: ({ payload }) => server.answer(payload),
    log,
  });
  return {
    async stop() {
      await Promise.all(sockets.map((socket) => socket.stop()));
      for (const stop of unwatch) stop();
      await server.close();
      await registry.close();
      await lock.release();
    },
  };
}
