/** What `pnpm release` makes of this checkout, once for all tests of a run. */

import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { must } from './machine.js';

const MAIN = fileURLToPath(new URL('../../release/dist/main.js', import.meta.url));

/** The folder it is in. */
export async function released(): Promise<string> {
  // The runner is the parent of every worker.
  if (process.env['R']) return process.env['R'];
  const folder = join(tmpdir(), `latchkey-release-${process.ppid}`);
  if (!existsSync(join(folder, 'SHA256SUMS'))) await must(process.execPath, [MAIN, '--out', folder]);
  return folder;
}
