/** The whole command line, for whoever runs it and for whoever describes it. */

import { deliverCommand } from '@latchkey/key-delivery/command';
import { healthCommand } from '@latchkey/runtime/telemetry';
import { program, withExamples } from '@latchkey/runtime/cli';
import { apiCommand } from './commands/api.js';
import { apiGatewayCommand } from './commands/api-gateway.js';
import { auditCommand } from './commands/audit.js';
import { backupCommand, restoreCommand } from './commands/backup.js';
import { clockCommand } from './commands/clock.js';
import { contextCommand } from './commands/context.js';
import { controllerCommand } from './commands/controller.js';
import { exportCommand } from './commands/export.js';
import { importCommand } from './commands/import.js';
import { initCommand } from './commands/init.js';
import { masterKeyCommand } from './commands/master-key.js';
import { nodeCommand } from './commands/node.js';
import { orderCommand } from './commands/order.js';
import { registryCommand } from './commands/registry.js';
import { runCommand } from './commands/run.js';
import { tokenCommand } from './commands/token.js';
import { upgradeCommand } from './commands/upgrade.js';
import { userCommand } from './commands/user.js';
import { webhooksCommand } from './commands/webhooks.js';
import type { Command } from 'commander';

const NAME = 'latchkey-auth-server';

export function authServerProgram(): Command {
  const root = program(
    NAME,
    'Authentication server (SBS): keeps the registry and answers controllers',
    new URL('../package.json', import.meta.url),
  )
    .addCommand(initCommand())
    .addCommand(runCommand())
    .addCommand(apiCommand())
    .addCommand(apiGatewayCommand())
    .addCommand(webhooksCommand())
    .addCommand(
      deliverCommand({
        command: NAME,
        socket: '/run/latchkey/auth-server/keys.sock',
        state: '/var/lib/latchkey/auth-server-deliver',
        config: '/etc/latchkey/auth-server-deliver.yaml',
      }),
    )
    .addCommand(healthCommand(NAME))
    .addCommand(
      withExamples(
        controllerCommand(),
        `${NAME} controller add 00000001 --data ./data --nid 192.0.2.1:5683 --server 192.0.2.7:5693 --out controller-1.json`,
        `${NAME} controller list --data ./data`,
      ),
    )
    .addCommand(withExamples(clockCommand(), `${NAME} clock show --data ./data`))
    .addCommand(
      withExamples(
        orderCommand(),
        `${NAME} order create --data ./data --installer "Kim & Sons" --controller 00000001 --count 40 --out ./for-kim`,
        `${NAME} order list --data ./data`,
      ),
    )
    .addCommand(importCommand())
    .addCommand(exportCommand())
    .addCommand(
      withExamples(
        nodeCommand(),
        `${NAME} node list --data ./data --order 3 --never-joined`,
        `${NAME} node why 0000a1b2 --data ./data`,
      ),
    )
    .addCommand(
      withExamples(auditCommand(), `${NAME} audit list --data ./data --node 0000a1b2`, `${NAME} audit verify --data ./data`),
    )
    .addCommand(withExamples(tokenCommand(), `${NAME} token create monitoring --data ./data --scope read --out monitoring.token`))
    .addCommand(
      withExamples(
        userCommand(),
        `${NAME} user add ada --data ./data --config /etc/latchkey/auth-server.yaml --role admin`,
        `${NAME} user list --data ./data`,
      ),
    )
    .addCommand(contextCommand())
    .addCommand(backupCommand())
    .addCommand(restoreCommand())
    .addCommand(registryCommand())
    .addCommand(upgradeCommand())
    .addCommand(withExamples(masterKeyCommand(), `${NAME} master-key rotate --data ./data`));
  return withExamples(
    root,
    `${NAME} init --data ./data`,
    `${NAME} run --data ./data`,
    `${NAME} node why 0000a1b2 --data ./data`,
    `${NAME} order create --help`,
  );
}
