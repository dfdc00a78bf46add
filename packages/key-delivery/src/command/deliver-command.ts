import { logLevelOption, withExamples } from '@latchkey/runtime/cli';
import { loadConfig } from '@latchkey/runtime/config';
import { createLog, type Daemon, limitMemory, type Log, type LogLevel, runDaemon } from '@latchkey/runtime/daemon';
import { Failure } from '@latchkey/runtime/failure';
import { httpOption, type ListenAddress } from '@latchkey/runtime/net';
import type { Telemetry } from '@latchkey/runtime/telemetry';
import { Command, Option } from 'commander';
import { resolve } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import {
  assertTrusted,
  checkTargets,
  Deliverer,
  KeySubscription,
  labelsOf,
  locatingProblems,
  type SubscriptionOptions,
} from '../targets/index.js';
import { type DeliverConfig, deliverConfigSchema, type DeliverDefaults } from './deliver-config.js';

/**
 * `--once` gives up on a target that fails, or a snapshot that does not end, after so long, in ms.
 */
const ONCE_TIMEOUT_MS = 60_000;
const POLL_INTERVAL_MS = 50;

interface DeliverOptions {
  readonly config: string;
  readonly check?: true;
  readonly once?: true;
  readonly logLevel?: LogLevel;
  readonly http?: ListenAddress;
}

/** Of which daemon it is the command. */
export interface DeliverProgram extends DeliverDefaults {
  /** The program that it is a command of. */
  readonly command: string;
  /** The path of the configuration, in examples. */
  readonly config: string;
}

export function deliverCommand(program: DeliverProgram): Command {
  const command = new Command('deliver')
    .description('write the keys of nodes to the files of other programs, and reload them, until SIGTERM')
    .requiredOption('--config <file>', 'YAML configuration: socket, state, overlap, targets, log_level, memory, http')
    .option('--check', 'only say whether configuration, templates, programs and users are right')
    .addOption(new Option('--once', 'write, reload and notify once, then end').conflicts('check'))
    .addOption(logLevelOption())
    .addOption(httpOption('where to serve health and metrics: HOST:PORT of this machine, or unix:/path'))
    .action((options: DeliverOptions) => deliver(options, program));
  return withExamples(
    command,
    `${program.command} deliver --config ${program.config}`,
    `${program.command} deliver --config ${program.config} --check`,
    `${program.command} deliver --config ./deliver.yaml --once --log-level debug`,
  );
}

async function deliver(options: DeliverOptions, program: DeliverProgram): Promise<void> {
  await assertTrusted(resolve(options.config), 'the configuration');
  const config = await loadConfig(deliverConfigSchema(program), options.config);
  if (options.check === true) return check(options.config, config);
  const log = await createLog('deliver', options.logLevel ?? config.log_level, options.once === true ? 'stderr' : 'stdout');
  const holder = `${program.command} deliver`;
  if (options.once === true) return locatingProblems(options.config, () => once(config, holder, log));
  await runDaemon(log, () => locatingProblems(options.config, () => start(config, holder, log)), {
    name: 'deliver',
    http: options.http ?? config.http,
  });
}

async function check(path: string, { targets }: DeliverConfig): Promise<void> {
  await locatingProblems(path, () => checkTargets(targets));
  process.stdout.write(`${path} is right: ${countTargets(targets)}, label ${labelsOf(targets).join(', ')}\n`);
}

async function start(config: DeliverConfig, holder: string, log: Log): Promise<Daemon> {
  const { deliverer, subscription } = await open(config, holder, log);
  deliverer.onSettled(() => subscription.acknowledge());
  subscription.start();
  const stopMemoryLimit = limitMemory(config.memory, log);
  log.info({ targets: config.targets.length, socket: config.socket }, 'started');
  return {
    telemetry: telemetryOf(deliverer, subscription),
    async stop() {
      stopMemoryLimit();
      subscription.stop();
      await deliverer.stop();
    },
  };
}

async function once(config: DeliverConfig, holder: string, log: Log): Promise<void> {
  const { deliverer, subscription } = await open(config, holder, log);
  subscription.start();
  try {
    await waitFor(() => (subscription.fault === undefined ? deliverer.isSettled : subscription.failures > 0), ONCE_TIMEOUT_MS);
    const fault = subscription.fault ?? deliverer.fault;
    if (fault !== undefined || !deliverer.isSettled)
      throw new Failure(fault ?? `not done within ${ONCE_TIMEOUT_MS / 1000} s`, { advice: 'The log above says more.' });
    subscription.acknowledge();
  } finally {
    subscription.stop();
    await deliverer.stop();
  }
  process.stdout.write(`${countTargets(config.targets)} ${config.targets.length === 1 ? 'is' : 'are'} up to date\n`);
}

async function open(
  { socket: path, state: folder, overlap, targets }: DeliverConfig,
  holder: string,
  log: Log,
): Promise<{ readonly deliverer: Deliverer; readonly subscription: KeySubscription }> {
  const deliverer = await Deliverer.open({
    targets,
    folder,
    holder,
    overlap,
    role: 'network',
    log,
  });
  const handlers: Pick<SubscriptionOptions, 'onSnapshot' | 'onNode' | 'onRevoked'> = {
    onSnapshot: (snapshot) => deliverer.replaceSnapshot(snapshot),
    onNode: (node) => deliverer.set(node),
    onRevoked: (id, reason) => deliverer.revoke(id, reason),
  };
  return { deliverer, subscription: new KeySubscription({ path, labels: labelsOf(targets), log, ...handlers }) };
}

function telemetryOf(deliverer: Deliverer, subscription: KeySubscription): Telemetry {
  return {
    isServing: () => true,
    checks: [{ name: 'key_socket', watchdog: 'reported', run: () => subscription.fault, cacheMs: 0 }, ...deliverer.checks],
    metrics: [
      ...deliverer.metrics,
      {
        type: 'gauge',
        name: 'latchkey_delivery_synced',
        help: '1 while the key socket is followed and its snapshot is complete',
        read: () => (subscription.fault === undefined ? 1 : 0),
      },
    ],
  };
}

function countTargets({ length }: DeliverConfig['targets']): string {
  return `${length} target${length === 1 ? '' : 's'}`;
}

/** Returns once the condition holds, or the time is over. */
async function waitFor(condition: () => boolean, timeoutMs: number): Promise<void> {
  for (const end = performance.now() + timeoutMs; !condition() && performance.now() < end;) await pause(POLL_INTERVAL_MS);
}
