/** The node agent as a device gets it: built by `pnpm release`, unpacked into a folder. */

import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** @returns the file that the command `latchkey-node-agent` is */
export async function installNodeAgent(folder: string): Promise<string> {
  const release = fileURLToPath(new URL('../../../release/dist/main.js', import.meta.url));
  const out = join(folder, 'release');
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  await run(process.execPath, [
    release,
    '--out',
    out,
    '--only',
    'node-agent',
    '--without',
    'npm,deb',
    '--arch',
    arch,
    '--as',
    '0.1.0',
  ]);
  await run('tar', ['-xzf', join(out, 'latchkey-node-agent-0.1.0-linux.tar.gz'), '-C', folder]);
  return join(folder, 'latchkey-node-agent-0.1.0-linux/usr/lib/latchkey/node-agent/dist/main.js');
}
