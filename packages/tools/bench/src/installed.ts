/**
 * What is measured as it gets installed: commands as `pnpm release` bundles them, and what stands
 * in for them bundled the same way. Once for a run.
 */

import { rmSync } from 'node:fs';
import { mkdtemp, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundle } from '@latchkey/release/bundle';
import { installCheckout } from '@latchkey/release/checkout';
import { writeTree } from '@latchkey/release/tree';

/** `limits`: bare `coap` and bare sockets instead of Latchkey. */
export type Program = 'auth-server' | 'controller' | 'node-agent' | 'limits';

/** From src/ under vitest as from dist/. */
const PACKAGE_FOLDER = fileURLToPath(new URL('..', import.meta.url));

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

/** The file of a program as it was built, which is in no bundle. */
export function built(program: Program): string {
  return program === 'limits'
    ? join(PACKAGE_FOLDER, 'dist/baselines/main.js')
    : join(PACKAGE_FOLDER, `../../${program}/dist/main.js`);
}

async function installProduct(product: Exclude<Program, 'limits'>): Promise<string> {
  return join(await installCheckout(await temporaryFolder(), product), `latchkey-${product}`);
}

async function installLimits(): Promise<string> {
  const folder = await temporaryFolder();
  const { tree } = await bundle({ name: 'tools/bench', entries: { main: 'baselines/main.js' }, parts: {}, natives: ['lmdb'] });
  await writeTree(tree, folder);
  await symlink(join(PACKAGE_FOLDER, 'node_modules'), join(folder, 'node_modules'));
  return join(folder, 'dist/main.js');
}

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-installed-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
