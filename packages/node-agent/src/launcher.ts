#!/usr/bin/env node
/**
 * How an installed node-agent starts. What is long-lived starts from V8's code cache. `key` is
 * called for each handshake by some, so it reads the node's file with as little as that takes.
 * Other commands, and a `key` that is not plain, are compiled, as they use other parts.
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
