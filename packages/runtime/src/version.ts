/**
 * Which version this is, by the package.json above: the runtime's own, or the one that is installed
 * with what it is bundled in.
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
