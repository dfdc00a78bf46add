/** The whole command line, for whoever runs it and for whoever describes it. */

import { healthCommand, program } from '@latchkey/runtime';
import { keyCommand } from './commands/key.js';
import { masterKeyCommand } from './commands/master-key.js';
import { runCommand } from './commands/run.js';
import type { Command } from 'commander';

export function controllerProgram(): Command {
  return program(
    'latchkey-controller',
    'Controller (SBR): serves nodes and asks an auth-server for them',
    new URL('../package.json', import.meta.url),
  )
    .addCommand(runCommand())
    .addCommand(healthCommand('latchkey-controller'))
    .addCommand(keyCommand())
    .addCommand(masterKeyCommand());
}
