import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { AuthServer, Registry, watchStore } from '@latchkey/auth-server';
import { formatId, Respondent } from '@latchkey/protocol';
import {
  CoapServer,
  createLog,
  type Credential,
  type Daemon,
  type Endpoint,
  listenOption,
  loadConfig,
  lockFolder,
  type Log,
  type LogLevel,
  logLevelOption,
  openFolder,
  readClock,
  readCredential,
  runDaemon,
  UsageFailure,
  withExamples,
} from '@latchkey/runtime';
import { Command } from 'commander';
import { type Config, configSchema } from '../config.js';
import { Controller } from '../controller.js';
import { type Link, LocalLink, RelayLink } from '../link.js';
import { PskStore } from '../psk-store.js';
import { Serials } from '../serials.js';
import { keyStorePath, stateOption } from './state.js';

const SERIALS_FILE = 'serials.json';

interface RunOptions {
  readonly credential: string;
  readonly state: string;
  readonly config?: string;
  readonly listen?: readonly Endpoint[];
  readonly logLevel?: LogLevel;
}

export function runCommand(): Command {
  const command = new Command('run')
    .description('serve nodes until SIGTERM')
    .requiredOption('--credential <file>', 'what `latchkey-auth-server controller add` wrote')
    .addOption(stateOption())
    .option('--config <file>', 'YAML configuration: mode, registry, servers, listen, log_level, bounds')
    .option('--listen <host:port>', 'where to listen, may be given again (default [::]:5683)', listenOption)
    .addOption(logLevelOption())
    .action(run);
  return withExamples(
    command,
    'latchkey-controller run --credential controller-1.json --state /var/lib/latchkey/controller',
    'latchkey-controller run --credential c.json --state ./state --listen 192.0.2.1:5683 --listen [2001:db8::1]:5683',
  );
}

async function run(options: RunOptions): Promise<void> {
  const config = await loadConfig(configSchema, options.config);
  const log = createLog('controller', options.logLevel ?? config.log_level);
  await runDaemon(log, () => start(options, config, log));
}

async function start(options: RunOptions, config: Config, log: Log): Promise<Daemon> {
  const credential = await readCredential(options.credential);
  await openFolder(options.state);
  const lock = await lockFolder(options.state, `latchkey-controller run for ${formatId(credential.idC)}`);
  const { link, closeRegistry } = await openLink(credential, config, log);
  const psks = await PskStore.open(keyStorePath(options.state));
  const serials = await Serials.open(join(options.state, SERIALS_FILE), credential.skCs, readClock().wall, log);
  const respondent = new Respondent({
    idC: credential.idC,
    skCs: credential.skCs,
    bounds: { total: config.bounds.transactions, perSource: config.bounds.per_source },
    draw: randomBytes,
    takeTid: () => serials.take(),
  });
  const controller = new Controller({ respondent, link, psks, clock: readClock, log });
  const sockets = await CoapServer.listenOnAll(options.listen ?? config.listen, {
    resourceType: 'latchkey.sbr',
    answer: (request) => controller.answer(request),
    log,
  });
  return {
    async stop() {
      await Promise.all(sockets.map((socket) => socket.stop()));
      await controller.stop();
      await psks.close();
      await closeRegistry();
      await lock.release();
    },
  };
}

interface OpenedLink {
  readonly link: Link;
  readonly closeRegistry: () => Promise<void>;
}

async function openLink(credential: Credential, config: Config, log: Log): Promise<OpenedLink> {
  if (config.mode === 'combined' && config.registry !== undefined) return openCombined(credential, config.registry, log);
  const servers = config.servers ?? credential.servers;
  if (servers.length === 0) {
    throw new UsageFailure('no auth-server is named', {
      advice: 'Name one in the credential or under `servers:`, or set `mode: combined`.',
    });
  }
  return { link: new RelayLink(servers, log), closeRegistry: () => Promise.resolve() };
}

async function openCombined(credential: Credential, folder: string, log: Log): Promise<OpenedLink> {
  const registry = await Registry.open(folder);
  const lock = await lockFolder(folder, 'latchkey-controller run in combined mode');
  const known = registry.controller(credential.idC);
  if (known === undefined || !known.skCs.equals(credential.skCs)) {
    throw new UsageFailure(
      `the registry in ${folder} does not have controller ${formatId(credential.idC)} with this credential`,
      {
        advice: 'Use the credential that `latchkey-auth-server controller add` wrote for this registry.',
      },
    );
  }
  const unwatch = watchStore(registry, log);
  return {
    link: new LocalLink(new AuthServer({ registry, clock: readClock, draw: randomBytes, log })),
    async closeRegistry() {
      unwatch();
      await registry.close();
      await lock.release();
    },
  };
}
