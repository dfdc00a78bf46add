/** The Debian packages that `pnpm release` makes of this checkout, for this machine. */

import { fileURLToPath } from 'node:url';
import { mustRun } from './machine.js';

const MAIN = fileURLToPath(new URL('../../release/dist/main.js', import.meta.url));

/** Puts them into `folder`, which is not there yet. */
export async function releaseDebs(folder: string): Promise<void> {
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  await mustRun(process.execPath, [MAIN, '--out', folder, '--arch', arch, '--without', 'npm,tar']);
}
