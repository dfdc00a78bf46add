#!/usr/bin/env node
import { main } from '@latchkey/runtime/cli';
import { authServerProgram } from './program.js';

async function start(): Promise<void> {
  await main(await authServerProgram(process.argv[2]));
}

void start();
