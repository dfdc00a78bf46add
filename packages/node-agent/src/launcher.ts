#!/usr/bin/env node
/**
 * How an installed node-agent starts: V8 takes half as long to have the program as it kept it the
 * last time as to compile it. What is long-lived keeps it, and `key` starts from it, as programs
 * may wait for that; other commands are compiled, as they use other parts.
 */

import { readFileSync } from 'node:fs';
import { createRequire, Module } from 'node:module';
import { join } from 'node:path';
import { constants, Script } from 'node:vm';
import { readCodeCache, writeCodeCache } from './code-cache.js';
import type { start } from './start.js';

interface Program {
  readonly start: typeof start;
}

const PROGRAM_PATH = join(import.meta.dirname, 'program.js');
const CACHED_COMMANDS: ReadonlySet<string | undefined> = new Set(['run', 'join', 'key']);
/** It uses less of the program: what the others keep is worth more. */
const READ_ONLY_COMMAND = 'key';
/** As Node.js wraps a CommonJS module. */
const WRAPPED = ['(function (exports, require, module, __filename, __dirname) { ', '\n})'] as const;

const require = createRequire(PROGRAM_PATH);
const [, , command, ...options] = process.argv;

if (CACHED_COMMANDS.has(command)) {
  // The bundle is ASCII.
  const source = readFileSync(PROGRAM_PATH, 'latin1');
  const folder = stateFolder(options);
  const cachedData = folder === undefined ? undefined : readCodeCache(folder, source);
  const script = new Script(WRAPPED.join(source), {
    filename: PROGRAM_PATH,
    columnOffset: -WRAPPED[0].length,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  const cacheAccepted = cachedData !== undefined && script.cachedDataRejected === false;
  const module = new Module(PROGRAM_PATH);
  module.filename = PROGRAM_PATH;
  // Parts of the program that are loaded later look for this one there.
  require.cache[PROGRAM_PATH] = module;
  script.runInThisContext()(module.exports, require, module, PROGRAM_PATH, import.meta.dirname);
  module.loaded = true;
  void (module.exports as Program).start(
    cacheAccepted || command === READ_ONLY_COMMAND ? undefined : (to) => writeCodeCache(to, source, script.createCachedData()),
  );
} else {
  void (require(PROGRAM_PATH) as Program).start();
}

/**
 * Where the command line says it is, before anything is there that reads command lines: where this
 * is mistaken, the program gets compiled.
 */
function stateFolder(words: readonly string[]): string | undefined {
  const at = words.lastIndexOf('--state');
  const given = at === -1 ? words.findLast((word) => word.startsWith('--state='))?.slice('--state='.length) : words[at + 1];
  // One that is set but empty counts as unset: the folder would be the working directory, which
  // others may write to.
  return given ?? (process.env['LATCHKEY_STATE'] || undefined);
}
