#!/usr/bin/env node
import { main } from '@latchkey/runtime/cli';
import { lowerPriorityOf } from './commands/priority.js';
import { authServerProgram } from './program.js';

async function start(): Promise<void> {
  const program = await authServerProgram(process.argv[2]);
  await main(program.hook('preAction', (_, action) => lowerPriorityOf(action)));
}

void start();
