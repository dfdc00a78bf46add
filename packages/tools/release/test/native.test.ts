// Proves that of what is compiled enough gets into a package: that a daemon which has nothing else
// can load each of it.

import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it, onTestFinished } from 'vitest';
import { collectNatives } from '../src/native.js';
import { PRODUCTS } from '../src/product.js';
import { mount, writeTree, type Tree } from '../src/tree.js';

/** As the daemons load it. */
const LOADS: Readonly<Record<string, string>> = {
  'fs-native-extensions':
    "typeof require('fs-native-extensions/prebuilds/linux-' + process.arch + '/fs-native-extensions.node').tryLock",
  koffi: "typeof require('koffi').load(null).func('void _exit(int)')",
  lmdb: "typeof require('lmdb').open",
};

it.each(PRODUCTS)('$name loads what is compiled for it', async (product) => {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-native-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const tree: Tree = new Map();
  mount(
    tree,
    'node_modules',
    (await collectNatives(product, { archs: [process.arch === 'arm64' ? 'arm64' : 'x64'], musl: false })).tree,
  );
  await writeTree(tree, folder);
  const words = product.natives.map((name) => LOADS[name] ?? `'${name}'`).join(', ');
  const { stdout } = await promisify(execFile)(process.execPath, ['--eval', `console.log([${words}].join())`], { cwd: folder });
  expect(stdout).toBe(`${product.natives.map(() => 'function').join()}\n`);
});
