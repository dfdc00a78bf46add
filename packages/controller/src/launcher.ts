#!/usr/bin/env node
/**
 * How an installed controller starts. `key` is called for each handshake by some, so it asks the
 * controller that runs with as little as that takes. Everything else, and whatever is not plain
 * about it, is the program's.
 */

import { createRequire } from 'node:module';
import { join } from 'node:path';
import { printFromDaemon } from './quick-key.js';
import type { start } from './start.js';

const PROGRAM_PATH = join(import.meta.dirname, 'program.js');

async function launch([command, ...words]: readonly string[]): Promise<void> {
  if (command === 'key' && (await printFromDaemon(words))) return;
  const program = createRequire(PROGRAM_PATH)(PROGRAM_PATH) as { readonly start: typeof start };
  await program.start();
}

void launch(process.argv.slice(2));
