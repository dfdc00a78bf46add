#!/usr/bin/env node
/**
 * Entry point of an installed node-agent. Long-running commands start from V8's code cache. Some
 * applications call `key` for each handshake, so it reads the node's file and loads as little as
 * possible. Other commands, and a `key` with unusual arguments, are compiled, because they execute
 * other code.
 */

import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { start } from './start.js';

const PROGRAM_PATH = join(import.meta.dirname, 'program.js');

async function launch([command, ...options]: readonly string[]): Promise<void> {
  if (command === 'run' || command === 'join') {
    const { startFromCache } = await import('./cached-start.js');
    return startFromCache(PROGRAM_PATH, options);
  }
  if (command === 'key') {
    // As in `main`: Node.js would open its debugger to every user of this machine.
    process.on('SIGUSR1', () => undefined);
    const { printFromFile } = await import('./quick-key.js');
    if (printFromFile(options)) return;
  }
  const program = createRequire(PROGRAM_PATH)(PROGRAM_PATH) as { readonly start: typeof start };
  await program.start();
}

void launch(process.argv.slice(2));
