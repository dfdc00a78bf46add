import { createLog, limitMemory, type Log, type LogLevel, runDaemon } from '@latchkey/runtime/daemon';
import { logLevelOption, withExamples } from '@latchkey/runtime/cli';
import { loadConfig } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import type { Registry } from '@latchkey/registry';
import { configSchema } from '../config.js';
import { findConsole } from '../console-folder.js';
import { locateRegistry, openRegistry, type RegistryLocation } from '../registry-location.js';
import { configOption, masterKeyOf, registryOptions, type RegistryOptions } from './registry-command.js';

/** In the audit log, if this process ever writes to it by itself. */
const AUDIT_ACTOR = 'api';

interface ApiOptions extends RegistryOptions {
  readonly config: string;
  readonly logLevel?: LogLevel;
}

export function apiCommand(): Command {
  const config = configOption('YAML configuration of the auth-server; its `api:` says where to serve, and whom');
  const command = registryOptions(
    new Command('api').description('serve the management API until SIGTERM, beside a server or without'),
    config.makeOptionMandatory(),
  )
    .addOption(logLevelOption())
    .action(serve);
  return withExamples(
    command,
    'latchkey-auth-server api --data /var/lib/latchkey/auth-server --config /etc/latchkey/auth-server.yaml',
    'curl --unix-socket /run/latchkey/auth-server-api/api.sock http://api/v1/summary',
  );
}

async function serve(options: ApiOptions): Promise<void> {
  const { api, log_level: logLevel, memory } = await loadConfig(configSchema, options.config);
  if (api === undefined)
    throw new UsageFailure(`${options.config} has no \`api:\``, {
      advice: 'Say where to serve the API, e.g. `api: {socket: /run/latchkey/auth-server-api/api.sock}`.',
    });
  const log = await createLog('auth-server-api', options.logLevel ?? logLevel);
  // As a child of `run` it ends when that has ended, even if that was killed.
  process.once('disconnect', () => process.emit('SIGTERM', 'SIGTERM'));
  if (process.send !== undefined && !process.connected) return;
  await runDaemon(log, async () => {
    // Loaded where it serves only: other commands start without an HTTP stack.
    const { startApi } = await import('@latchkey/api');
    const location = await locateRegistry(options);
    const daemon = await startApi({
      config: api,
      folder: location.folder,
      registry: { open: () => open(location, options, log), isInDatabase: location.postgres !== undefined },
      consoleFolder: await findConsole(),
      log,
    });
    limitMemory(memory, log);
    return daemon;
  });
}

async function open(location: RegistryLocation, options: RegistryOptions, log: Log): Promise<Registry> {
  const registry = await openRegistry(location, () => masterKeyOf(options), AUDIT_ACTOR);
  log.info('the registry is open');
  return registry;
}
