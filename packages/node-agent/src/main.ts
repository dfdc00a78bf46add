#!/usr/bin/env node
import { healthCommand, main, program } from '@latchkey/runtime';
import { installCommand } from './commands/install.js';
import { joinCommand } from './commands/join.js';
import { keyCommand } from './commands/key.js';
import { moveCommand } from './commands/move.js';
import { runCommand } from './commands/run.js';
import { statusCommand } from './commands/status.js';

await main(
  program(
    'latchkey-node-agent',
    'Node agent (SBI): replaces the key an installer gave this device',
    new URL('../package.json', import.meta.url),
  )
    .addCommand(installCommand())
    .addCommand(joinCommand())
    .addCommand(runCommand())
    .addCommand(healthCommand('latchkey-node-agent'))
    .addCommand(moveCommand())
    .addCommand(statusCommand())
    .addCommand(keyCommand()),
);
