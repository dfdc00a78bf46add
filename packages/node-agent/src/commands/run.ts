import { createLog, type Daemon, type Log, type LogLevel, runDaemon } from '@latchkey/runtime/daemon';
import { httpOption, type ListenAddress } from '@latchkey/runtime/net';
import { loadConfig } from '@latchkey/runtime/config';
import { logLevelOption, withExamples } from '@latchkey/runtime/cli';
import { formatId } from '@latchkey/protocol';
import { Command } from 'commander';
import { type Config, configSchema } from '../config.js';
import { NodeAgent } from '../node-agent.js';
import { telemetryOf } from '../telemetry.js';
import { type SaveCodeCache, MemorySaver } from '../memory-saver.js';
import { openLocked, openTargets, stateOption } from './state.js';

interface RunOptions {
  readonly state: string;
  readonly config?: string;
  readonly logLevel?: LogLevel;
  readonly http?: ListenAddress;
}

export function runCommand(saveCodeCache: SaveCodeCache): Command {
  const command = new Command('run')
    .description('join, renew before the key expires, try again after failures, until SIGTERM')
    .addOption(stateOption())
    .option('--config <file>', 'YAML configuration: on_key_change, targets, activate_after, log_level, http')
    .addOption(logLevelOption())
    .addOption(httpOption('where to serve health and metrics: HOST:PORT of this machine, or unix:/path'))
    .action((options: RunOptions) => run(options, saveCodeCache));
  return withExamples(
    command,
    'latchkey-node-agent run --state /var/lib/latchkey/node-agent --config /etc/latchkey/node-agent.yaml',
  );
}

/** What SIGUSR2 does, once there is an agent. */
let joinNow = (): void => undefined;

async function run(options: RunOptions, saveCodeCache: SaveCodeCache): Promise<void> {
  // Before anything can send it: it would end the process.
  process.on('SIGUSR2', () => joinNow());
  const config = await loadConfig(configSchema, options.config);
  const log = await createLog('node-agent', options.logLevel ?? config.log_level);
  await runDaemon(log, () => start(options, config, log, saveCodeCache), {
    name: 'node-agent',
    http: options.http ?? config.http,
  });
}

async function start(options: RunOptions, config: Config, log: Log, saveCodeCache: SaveCodeCache): Promise<Daemon> {
  const { state: folder } = options;
  const holder = 'latchkey-node-agent run';
  const { file, lock } = await openLocked(folder, holder);
  const targets = await openTargets(config, options.config, { folder, file, holder, log });
  const agent = new NodeAgent({
    file,
    folder,
    onKeyChange: config.on_key_change,
    targets,
    log,
    memorySaver: new MemorySaver(folder, saveCodeCache),
  });
  log.info({ node: formatId(file.record.state.idI) }, 'started');
  joinNow = () => agent.joinNow();
  const running = agent.run();
  return {
    telemetry: telemetryOf(agent, file, folder, targets?.telemetry),
    async stop() {
      agent.stop();
      // Together: each may take some seconds for a program that does not end.
      await Promise.all([running, targets?.stop()]);
      await lock.release();
    },
  };
}
