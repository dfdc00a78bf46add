import { createLog, type LogLevel, limitMemory, runDaemon } from '@latchkey/runtime/daemon';
import { logLevelOption, withExamples } from '@latchkey/runtime/cli';
import { loadConfig } from '@latchkey/runtime/config';
import { UsageFailure } from '@latchkey/runtime/failure';
import { Command } from 'commander';
import { commandConfigSchema } from '../config.js';

interface WebhooksOptions {
  readonly config: string;
  readonly logLevel?: LogLevel;
}

export function webhooksCommand(): Command {
  const command = new Command('webhooks')
    .description('send what happens to other programs until SIGTERM, as a user without the registry')
    .requiredOption('--config <file>', 'YAML configuration of the auth-server, with `webhooks:` and `remote:` below `api:`')
    .addOption(logLevelOption())
    .action(serve);
  return withExamples(command, 'latchkey-auth-server webhooks --config /etc/latchkey/auth-server.yaml');
}

async function serve(options: WebhooksOptions): Promise<void> {
  const { api, log_level: logLevel, memory } = await loadConfig(commandConfigSchema, options.config);
  const { webhooks, remote } = api ?? {};
  if (webhooks === undefined || remote === undefined)
    throw new UsageFailure(`${options.config} has no \`webhooks:\` below \`api:\``, {
      advice: 'Say where to send what: docs/API.md has an example.',
    });
  const log = await createLog('webhooks', options.logLevel ?? logLevel);
  await runDaemon(
    log,
    async () => {
      const { startWebhooks } = await import('@latchkey/api/webhooks');
      const daemon = await startWebhooks({ config: webhooks, apiSocket: remote.socket, log });
      limitMemory(memory, log);
      return daemon;
    },
    { name: 'webhooks', http: webhooks.http },
  );
}
