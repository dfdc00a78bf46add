/** The command tree of the program, for running it and for describing it. */

import { deliverCommand } from '@latchkey/key-delivery/command';
import { healthCommand } from '@latchkey/runtime/telemetry';
import { program, sortOptions, withExamples } from '@latchkey/runtime/cli';
import { keyCommand } from './commands/key.js';
import { masterKeyCommand } from './commands/master-key.js';
import { runCommand } from './commands/run.js';
import { syncCommand } from './commands/sync.js';
import type { Command } from 'commander';

const NAME = 'latchkey-controller';

export function controllerProgram(): Command {
  const command = program(
    NAME,
    'Controller (SBR): serves nodes and asks an auth-server for them',
    new URL('../package.json', import.meta.url),
  )
    .addCommand(runCommand())
    .addCommand(
      deliverCommand({
        command: NAME,
        socket: '/run/latchkey/controller/keys.sock',
        state: '/var/lib/latchkey/deliver',
        config: '/etc/latchkey/deliver.yaml',
      }),
    )
    .addCommand(healthCommand(NAME))
    .addCommand(keyCommand())
    .addCommand(syncCommand())
    .addCommand(withExamples(masterKeyCommand(), `${NAME} master-key rotate --state ./state`));
  return withExamples(
    sortOptions(command),
    `${NAME} run --credential controller-1.json --state ./state`,
    `${NAME} key 0000a1b2 --state ./state --label dtls-psk`,
    `${NAME} run --help`,
  );
}
