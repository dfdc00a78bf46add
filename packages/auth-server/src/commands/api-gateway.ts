import { createLog, type LogLevel, limitMemory, runDaemon } from '@latchkey/runtime/daemon';
import { logLevelOption, withExamples } from '@latchkey/runtime/cli';
import { loadConfig } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import { commandConfigSchema } from '../config.js';

interface GatewayOptions {
  readonly config: string;
  readonly logLevel?: LogLevel;
}

export function apiGatewayCommand(): Command {
  const command = new Command('api-gateway')
    .description('serve the management API over TLS until SIGTERM, as a user without the registry')
    .requiredOption('--config <file>', 'YAML configuration of the auth-server, with `gateway:` and `remote:` below `api:`')
    .addOption(logLevelOption())
    .action(serve);
  return withExamples(command, 'latchkey-auth-server api-gateway --config /etc/latchkey/auth-server.yaml');
}

async function serve(options: GatewayOptions): Promise<void> {
  const { api, log_level: logLevel, memory } = await loadConfig(commandConfigSchema, options.config);
  const { gateway, remote, browser } = api ?? {};
  if (gateway === undefined || remote === undefined)
    throw new UsageFailure(`${options.config} has no \`${gateway === undefined ? 'gateway' : 'remote'}:\` below \`api:\``, {
      advice: 'Say where to serve, and where the API is: docs/API.md has an example.',
    });
  const log = await createLog('api-gateway', options.logLevel ?? logLevel);
  await runDaemon(log, async () => {
    const { startGateway } = await import('@latchkey/api/gateway');
    const daemon = await startGateway({
      config: gateway,
      apiSocket: remote.socket,
      ...(browser?.socket === undefined ? {} : { browser: { socket: browser.socket, origin: browser.origin } }),
      log,
    });
    limitMemory(memory, log);
    return daemon;
  });
}
