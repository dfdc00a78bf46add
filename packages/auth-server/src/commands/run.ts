import { randomBytes } from 'node:crypto';
import {
  CoapServer,
  createLog,
  type Daemon,
  type Endpoint,
  listenOption,
  loadConfig,
  lockFolder,
  type Log,
  type LogLevel,
  logLevelOption,
  readClock,
  runDaemon,
  withExamples,
} from '@latchkey/runtime';
import { Command } from 'commander';
import { AuthServer } from '../auth-server.js';
import { configSchema } from '../config.js';
import { Registry } from '../registry.js';
import { watchStore } from '../store-watch.js';
import { dataOption } from './with-registry.js';

interface RunOptions {
  readonly data: string;
  readonly config?: string;
  readonly listen?: readonly Endpoint[];
  readonly logLevel?: LogLevel;
}

export function runCommand(): Command {
  const command = new Command('run')
    .description('serve controllers until SIGTERM')
    .addOption(dataOption())
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
  const log = createLog('auth-server', options.logLevel ?? config.log_level);
  await runDaemon(log, () => start(options.data, options.listen ?? config.listen, log));
}

async function start(folder: string, listen: readonly Endpoint[], log: Log): Promise<Daemon> {
  const registry = await Registry.open(folder);
  const lock = await lockFolder(folder, 'latchkey-auth-server run');
  const server = new AuthServer({ registry, clock: readClock, draw: randomBytes, log });
  const unwatch = watchStore(registry, log);
  const sockets = await CoapServer.listenOnAll(listen, {
    resourceType: 'latchkey.sbs',
    answer: ({ payload }) => server.answer(payload),
    log,
  });
  return {
    async stop() {
      await Promise.all(sockets.map((socket) => socket.stop()));
      unwatch();
      await registry.close();
      await lock.release();
    },
  };
}
