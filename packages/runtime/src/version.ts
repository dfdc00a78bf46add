/**
 * Version of this program, from the package.json above: the runtime's own, or that of the package
 * into which it is bundled.
 */

import { readFileSync } from 'node:fs';

export interface Version {
  readonly version: string;
  /** The commit, where npm has noted it. */
  readonly gitHead?: string;
}

export function readVersion(): Version {
  // From a file of `dist` itself, where bundles lie too: one folder further down the way would be
  // another.
  return JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as Version;
}
