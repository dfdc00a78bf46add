/** The whole command line, for whoever runs it and for whoever describes it. */

import { healthCommand, program, withExamples } from '@latchkey/runtime';
import { installCommand } from './commands/install.js';
import { joinCommand } from './commands/join.js';
import { keyCommand } from './commands/key.js';
import { moveCommand } from './commands/move.js';
import { runCommand } from './commands/run.js';
import { statusCommand } from './commands/status.js';
import type { KeepCompiled } from './thrift.js';
import type { Command } from 'commander';

const NAME = 'latchkey-node-agent';

const COMMANDS: Readonly<Record<string, (keepCompiled: KeepCompiled) => Command>> = {
  install: installCommand,
  join: joinCommand,
  run: runCommand,
  health: () => healthCommand(NAME),
  move: moveCommand,
  status: statusCommand,
  key: keyCommand,
};

interface Purpose {
  /** The command that was asked for: where there is such a one no other is made. */
  readonly asked?: string | undefined;
  readonly keepCompiled?: KeepCompiled | undefined;
}

export function nodeAgentProgram({ asked, keepCompiled = () => undefined }: Purpose = {}): Command {
  const whole = program(
    NAME,
    'Node agent (SBI): replaces the key an installer gave this device',
    new URL('../package.json', import.meta.url),
  );
  const made = Object.entries(COMMANDS);
  const one = made.filter(([name]) => name === asked);
  for (const [, make] of one.length > 0 ? one : made) whole.addCommand(make(keepCompiled));
  return withExamples(
    whole,
    `${NAME} install --state ./node --manifest manifest.csv --id 0000a1b2`,
    `${NAME} join --state ./node`,
    `${NAME} status --state ./node`,
    `${NAME} run --help`,
  );
}
