#!/usr/bin/env node
/**
 * Entry point of an installed controller. Some applications call `key` for each handshake, so it
 * asks the running controller and loads as little as possible. Everything else, also a `key` with
 * unusual arguments, runs the full program.
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
