/** What is measured as it gets installed: commands built by `pnpm release`, and what stands in for them bundled the same way. Once for a run. */

import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { bundle } from '@latchkey/release/bundle';
import { layDown } from '@latchkey/release/tree';

/** `limits`: bare `coap` and bare sockets instead of Latchkey. */
export type Program = 'auth-server' | 'controller' | 'node-agent' | 'limits';

const run = promisify(execFile);
const VERSION = '0.1.0';
/** From src/ under vitest as from dist/. */
const HERE = fileURLToPath(new URL('..', import.meta.url));

const installed = new Map<Program, Promise<string>>();

/** @returns the file to run with Node.js; it is gone when this process ends */
export function install(program: Program): Promise<string> {
  let file = installed.get(program);
  if (file === undefined) {
    file = program === 'limits' ? installLimits() : installProduct(program);
    installed.set(program, file);
  }
  return file;
}

async function installProduct(product: Exclude<Program, 'limits'>): Promise<string> {
  const folder = await temporaryFolder();
  const out = join(folder, 'release');
  const arch = process.arch === 'arm64' ? 'arm64' : 'amd64';
  const release = join(HERE, '../release/dist/main.js');
  const what = ['--only', product, '--without', 'npm,deb', '--arch', arch, '--as', VERSION];
  await run(process.execPath, [release, '--out', out, ...what]);
  const name = `latchkey-${product}-${VERSION}-linux`;
  await run('tar', ['-xzf', join(out, `${name}.tar.gz`), '-C', folder]);
  return join(folder, name, 'usr/lib/latchkey', product, 'dist/main.js');
}

async function installLimits(): Promise<string> {
  const folder = await temporaryFolder();
  const { tree } = await bundle({ name: 'bench', entries: { main: 'limits/main.js' }, parts: {}, natives: ['lmdb'] });
  await layDown(tree, folder);
  await symlink(join(HERE, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'dist/main.js');
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-installed-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
