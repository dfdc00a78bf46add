/**
 * The command that is called, without the others, because loading them took longer than most
 * commands. Help and suggestions load all commands.
 */

import { addAdviceTargets, program, sortOptions, withExamples } from '@latchkey/runtime/cli';
import type { Command } from 'commander';
import { ADVICE_TARGETS } from './advice-targets.js';

const NAME = 'latchkey-auth-server';

const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  init: async () => (await import('./commands/init.js')).initCommand(),
  run: async () => (await import('./commands/run.js')).runCommand(),
  api: async () => (await import('./commands/api.js')).apiCommand(),
  'api-gateway': async () => (await import('./commands/api-gateway.js')).apiGatewayCommand(),
  webhooks: async () => (await import('./commands/webhooks.js')).webhooksCommand(),
  deliver: async () =>
    (await import('@latchkey/key-delivery/command')).deliverCommand({
      command: NAME,
      socket: '/run/latchkey/auth-server/keys.sock',
      state: '/var/lib/latchkey/auth-server-deliver',
      config: '/etc/latchkey/auth-server-deliver.yaml',
    }),
  health: async () => (await import('@latchkey/runtime/telemetry')).healthCommand(NAME),
  controller: async () =>
    withExamples(
      (await import('./commands/controller.js')).controllerCommand(),
      `${NAME} controller add 00000001 --data ./data --nid 192.0.2.1:5683 --server 192.0.2.7:5693 --out controller-1.json`,
      `${NAME} controller list --data ./data`,
    ),
  clock: async () => withExamples((await import('./commands/clock.js')).clockCommand(), `${NAME} clock show --data ./data`),
  order: async () =>
    withExamples(
      (await import('./commands/order.js')).orderCommand(),
      `${NAME} order create --data ./data --installer "Kim & Sons" --controller 00000001 --count 40 --out ./for-kim`,
      `${NAME} order list --data ./data`,
    ),
  installer: async () =>
    withExamples(
      (await import('./commands/installer.js')).installerCommand(),
      `${NAME} installer add "Kim & Sons" --data ./data --recipient age1...`,
      `${NAME} installer list --data ./data`,
    ),
  import: async () => (await import('./commands/import.js')).importCommand(),
  export: async () => (await import('./commands/export.js')).exportCommand(),
  node: async () =>
    withExamples(
      (await import('./commands/node.js')).nodeCommand(),
      `${NAME} node list --data ./data --order 3 --never-joined`,
      `${NAME} node why 0000a1b2 --data ./data`,
    ),
  job: async () =>
    withExamples(
      (await import('./commands/job.js')).jobCommand(),
      `${NAME} job list --server https://plant.example:8443 --token-file plant.token`,
      `${NAME} job list --data ./data`,
    ),
  audit: async () =>
    withExamples(
      (await import('./commands/audit.js')).auditCommand(),
      `${NAME} audit list --data ./data --node 0000a1b2`,
      `${NAME} audit verify --data ./data`,
    ),
  token: async () =>
    withExamples(
      (await import('./commands/token.js')).tokenCommand(),
      `${NAME} token create monitoring --data ./data --scope read --out monitoring.token`,
    ),
  user: async () =>
    withExamples(
      (await import('./commands/user.js')).userCommand(),
      `${NAME} user add ada --data ./data --config /etc/latchkey/auth-server.yaml --role admin`,
      `${NAME} user list --data ./data`,
    ),
  login: async () => (await import('./commands/login.js')).loginCommand(),
  context: async () => (await import('./commands/context.js')).contextCommand(),
  backup: async () => (await import('./commands/backup.js')).backupCommand(),
  restore: async () => (await import('./commands/backup.js')).restoreCommand(),
  registry: async () => (await import('./commands/registry.js')).registryCommand(),
  upgrade: async () => (await import('./commands/upgrade.js')).upgradeCommand(),
  'master-key': async () =>
    withExamples((await import('./commands/master-key.js')).masterKeyCommand(), `${NAME} master-key rotate --data ./data`),
};

/** `commandName`: the called command. If it is absent or does not exist, all commands are built. */
export async function authServerProgram(commandName?: string): Promise<Command> {
  const root = program(
    NAME,
    'Authentication server (SBS): keeps the registry and answers controllers',
    new URL('../package.json', import.meta.url),
  );
  // The version needs none of them.
  if (commandName === '--version' || commandName === '-V') return root;
  const called = commandName !== undefined && Object.hasOwn(COMMANDS, commandName) ? COMMANDS[commandName] : undefined;
  for (const make of called === undefined ? Object.values(COMMANDS) : [called]) root.addCommand(sortOptions(await make()));
  // Advice names other commands, with the options that these take.
  addAdviceTargets(root, ADVICE_TARGETS);
  return withExamples(
    root,
    `${NAME} init --data ./data`,
    `${NAME} run --data ./data`,
    `${NAME} node why 0000a1b2 --data ./data`,
    `${NAME} order create --help`,
  );
}
