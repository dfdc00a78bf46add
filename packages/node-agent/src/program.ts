/** The command tree of the program, for running it and for describing it. */

import { healthCommand } from '@latchkey/runtime/telemetry';
import { program, sortOptions, withExamples } from '@latchkey/runtime/cli';
import { installCommand } from './commands/install.js';
import { joinCommand } from './commands/join.js';
import { keyCommand } from './commands/key.js';
import { moveCommand } from './commands/move.js';
import { provisionCommand } from './commands/provision.js';
import { runCommand } from './commands/run.js';
import { statusCommand } from './commands/status.js';
import type { SaveCodeCache } from './memory-saver.js';
import type { Command } from 'commander';

const NAME = 'latchkey-node-agent';

const COMMANDS: Readonly<Record<string, (saveCodeCache: SaveCodeCache) => Command>> = {
  provision: provisionCommand,
  install: installCommand,
  join: joinCommand,
  run: runCommand,
  health: () => healthCommand(NAME),
  move: moveCommand,
  status: statusCommand,
  key: keyCommand,
};

interface ProgramOptions {
  /** The command that was called. If it exists, no other command is built. */
  readonly commandName?: string | undefined;
  readonly saveCodeCache?: SaveCodeCache | undefined;
}

export function nodeAgentProgram({ commandName, saveCodeCache = () => undefined }: ProgramOptions = {}): Command {
  const command = program(
    NAME,
    'Node agent (SBI): replaces the key an installer gave this device',
    new URL('../package.json', import.meta.url),
  );
  const entries = Object.entries(COMMANDS);
  const selected = entries.filter(([name]) => name === commandName);
  for (const [, make] of selected.length > 0 ? selected : entries) command.addCommand(make(saveCodeCache));
  return withExamples(
    sortOptions(command),
    `${NAME} install --state ./node --manifest manifest.csv --id 0000a1b2`,
    `${NAME} join --state ./node`,
    `${NAME} status --state ./node`,
    `${NAME} run --help`,
  );
}
