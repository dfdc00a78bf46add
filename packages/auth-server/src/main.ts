#!/usr/bin/env node
import { main, program } from '@latchkey/runtime';
import { controllerCommand } from './commands/controller.js';
import { importCommand } from './commands/import.js';
import { initCommand } from './commands/init.js';
import { nodeCommand } from './commands/node.js';
import { orderCommand } from './commands/order.js';
import { runCommand } from './commands/run.js';

await main(
  program(
    'latchkey-auth-server',
    'Authentication server (SBS): keeps the registry and answers controllers',
    new URL('../package.json', import.meta.url),
  )
    .addCommand(initCommand())
    .addCommand(runCommand())
    .addCommand(controllerCommand())
    .addCommand(orderCommand())
    .addCommand(importCommand())
    .addCommand(nodeCommand()),
);
