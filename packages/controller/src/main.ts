#!/usr/bin/env node
import { healthCommand, main, program } from '@latchkey/runtime';
import { keyCommand } from './commands/key.js';
import { masterKeyCommand } from './commands/master-key.js';
import { runCommand } from './commands/run.js';

await main(
  program(
    'latchkey-controller',
    'Controller (SBR): serves nodes and asks an auth-server for them',
    new URL('../package.json', import.meta.url),
  )
    .addCommand(runCommand())
    .addCommand(healthCommand('latchkey-controller'))
    .addCommand(keyCommand())
    .addCommand(masterKeyCommand()),
);
