/**
 * What is changed in packages of others as they are bundled, so that a device starts sooner. Where
 * one is written otherwise, the build fails.
 */

import { Failure } from '@latchkey/runtime/failure';

interface SourcePatch {
  /** The end of its path. */
  readonly file: string;
  readonly pattern: RegExp;
  readonly replacement: string;
}

const SOURCE_PATCHES: readonly SourcePatch[] = [
  // Node.js's own `assert` opens standard error and more, for a check that is not on the way.
  {
    file: '/sonic-boom/index.js',
    pattern: /const assert = (require\('(?:node:)?assert'\))/,
    replacement: 'const assert = (...all) => $1(...all)',
  },
  // The name that the package's index gives it.
  {
    file: '/coap/dist/lib/agent.js',
    pattern: /exports\.default = Agent;/,
    replacement: 'exports.default = exports.Agent = Agent;',
  },
  // There are no other threads.
  {
    file: '/pino/lib/tools.js',
    pattern: /const \{ isMainThread \} = require\('worker_threads'\)/,
    replacement: 'const isMainThread = true',
  },
  // No log goes through a worker or to several streams.
  {
    file: '/pino/lib/tools.js',
    pattern: /const transport = require\('\.\/transport'\)\n/,
    replacement: '',
  },
  {
    file: '/pino/pino.js',
    pattern:
      /module\.exports\.transport = require\('\.\/lib\/transport'\)\nmodule\.exports\.multistream = require\('\.\/lib\/multistream'\)\n/,
    replacement: '',
  },
];

/** For a bundler: the module, changed; `undefined` for one that stays as it is. */
export function patchSource(code: string, id: string): string | undefined {
  const changes = SOURCE_PATCHES.filter(({ file }) => id.endsWith(file));
  if (changes.length === 0) return undefined;
  return changes.reduce((text, { file, pattern, replacement }) => {
    const rest = text.replace(pattern, replacement);
    if (rest === text)
      throw new Failure(`${file} is written in another way`, { advice: 'Look at packages/tools/release/src/source-patches.ts.' });
    return rest;
  }, code);
}
