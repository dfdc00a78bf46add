/** Starts the program from V8's code cache, which takes half as long as compiling it. */

import { readFileSync } from 'node:fs';
import { createRequire, Module } from 'node:module';
import { constants, Script } from 'node:vm';
import { readCodeCache, writeCodeCache } from './code-cache.js';
import type { start } from './start.js';

/** As Node.js wraps a CommonJS module. */
const WRAPPED = ['(function (exports, require, module, __filename, __dirname) { ', '\n})'] as const;

/** @param options of the command, from which the state folder with the cache comes */
export function startFromCache(programPath: string, options: readonly string[]): void {
  const require = createRequire(programPath);
  // The bundle is ASCII.
  const source = readFileSync(programPath, 'latin1');
  const folder = stateFolder(options);
  const cachedData = folder === undefined ? undefined : readCodeCache(folder, source);
  const script = new Script(WRAPPED.join(source), {
    filename: programPath,
    columnOffset: -WRAPPED[0].length,
    importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
    ...(cachedData === undefined ? {} : { cachedData }),
  });
  const cacheAccepted = cachedData !== undefined && script.cachedDataRejected === false;
  const module = new Module(programPath);
  module.filename = programPath;
  // Parts of the program that are loaded later find this one there.
  require.cache[programPath] = module;
  script.runInThisContext()(module.exports, require, module, programPath, import.meta.dirname);
  module.loaded = true;
  void (module.exports as { readonly start: typeof start }).start(
    cacheAccepted ? undefined : (to) => writeCodeCache(to, source, script.createCachedData()),
  );
}

/**
 * Returns the state folder that the command line names, before the parser of command lines is
 * loaded. If the result is wrong, the program is compiled.
 */
function stateFolder(words: readonly string[]): string | undefined {
  const at = words.lastIndexOf('--state');
  const given = at === -1 ? words.findLast((word) => word.startsWith('--state='))?.slice('--state='.length) : words[at + 1];
  // One that is set but empty counts as unset: the folder would be the working directory, which
  // others may write to.
  return given ?? (process.env['LATCHKEY_STATE'] || undefined);
}
