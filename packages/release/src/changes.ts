/** What is changed in packages of others as they are bundled, so that a device starts sooner. Where one is written otherwise, the build fails. */

import { Failure } from '@latchkey/runtime';

interface Change {
  /** The end of its path. */
  readonly file: string;
  readonly what: RegExp;
  readonly by: string;
}

const CHANGES: readonly Change[] = [
  // Node.js's own `assert` opens standard error and more, for a check that is not on the way.
  {
    file: '/sonic-boom/index.js',
    what: /const assert = (require\('(?:node:)?assert'\))/,
    by: 'const assert = (...all) => $1(...all)',
  },
  // The name that the package's index gives it.
  { file: '/coap/dist/lib/agent.js', what: /exports\.default = Agent;/, by: 'exports.default = exports.Agent = Agent;' },
  // There are no other threads.
  { file: '/pino/lib/tools.js', what: /const \{ isMainThread \} = require\('worker_threads'\)/, by: 'const isMainThread = true' },
];

/** For a bundler: the module, changed; `undefined` for one that stays as it is. */
export function changed(code: string, id: string): string | undefined {
  const changes = CHANGES.filter(({ file }) => id.endsWith(file));
  if (changes.length === 0) return undefined;
  return changes.reduce((text, { file, what, by }) => {
    const rest = text.replace(what, by);
    if (rest === text)
      throw new Failure(`${file} is written in another way`, { advice: 'Look at packages/release/src/changes.ts.' });
    return rest;
  }, code);
}
