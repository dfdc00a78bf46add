/** The whole command line, for whoever runs it and for whoever describes it. */

import { healthCommand, program } from '@latchkey/runtime';
import { auditCommand } from './commands/audit.js';
import { backupCommand, restoreCommand } from './commands/backup.js';
import { clockCommand } from './commands/clock.js';
import { controllerCommand } from './commands/controller.js';
import { exportCommand } from './commands/export.js';
import { importCommand } from './commands/import.js';
import { initCommand } from './commands/init.js';
import { masterKeyCommand } from './commands/master-key.js';
import { nodeCommand } from './commands/node.js';
import { orderCommand } from './commands/order.js';
import { runCommand } from './commands/run.js';
import type { Command } from 'commander';

export function authServerProgram(): Command {
  return program(
    'latchkey-auth-server',
    'Authentication server (SBS): keeps the registry and answers controllers',
    new URL('../package.json', import.meta.url),
  )
    .addCommand(initCommand())
    .addCommand(runCommand())
    .addCommand(healthCommand('latchkey-auth-server'))
    .addCommand(controllerCommand())
    .addCommand(clockCommand())
    .addCommand(orderCommand())
    .addCommand(importCommand())
    .addCommand(exportCommand())
    .addCommand(nodeCommand())
    .addCommand(auditCommand())
    .addCommand(backupCommand())
    .addCommand(restoreCommand())
    .addCommand(masterKeyCommand());
}
