/**
 * What is built for a processor, in .debs and tarballs: only the files that a daemon loads, laid
 * out as node_modules. (npm packages name these packages as their dependencies, and npm finds what
 * fits.) A file that is gone in a new version of one of them fails the build.
 */

import { readdirSync } from 'node:fs';
import { readFile, realpath } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { Failure } from '@latchkey/runtime/failure';
import { type Dependency, dependencyIn, fetchPinned, licenseFiles, resolveFrom } from './dependency.js';
import { type Product, ROOT } from './product.js';
import type { Tree } from './tree.js';

/** As Node.js calls processors. */
export type Arch = 'x64' | 'arm64';

export interface Target {
  readonly archs: readonly Arch[];
  /** Whether systems with musl are to be served, too; these are built against Node-API alone. */
  readonly musl: boolean;
}

interface Recipe {
  /** Files beside package.json and the licence; a RegExp takes all that match. */
  readonly files: (target: Target) => readonly (string | RegExp)[];
  readonly needs?: readonly string[];
  /** A package for each processor, with what is compiled. */
  readonly perArch?: { readonly name: (arch: Arch) => string; readonly files: (arch: Arch, musl: boolean) => readonly RegExp[] };
}

const onlyFiles =
  (...files: readonly string[]): Recipe['files'] =>
  () =>
    files;

const RECIPES: Readonly<Record<string, Recipe>> = {
  // Its file is loaded by name (runtime, `file-lock`). It has none for musl: the lock is another
  // one there.
  'fs-native-extensions': { files: ({ archs }) => archs.map((arch) => `prebuilds/linux-${arch}/fs-native-extensions.node`) },
  koffi: {
    files: onlyFiles('index.cjs', 'src/koffi/index.cjs', 'src/koffi/src/static.cjs'),
    perArch: {
      name: (arch) => `@koromix/koffi-linux-${arch}`,
      files: (arch, musl) => [/^index\.js$/, musl ? /^(?:linux|musl)_/ : new RegExp(`^linux_${arch}/`)],
    },
  },
  lmdb: {
    files: onlyFiles('dist/index.cjs'),
    needs: ['@harperfast/extended-iterable', 'msgpackr', 'node-gyp-build-optional-packages', 'ordered-binary', 'weak-lru-cache'],
    perArch: {
      name: (arch) => `@lmdb/lmdb-linux-${arch}`,
      files: (_arch, musl) => [/^index\.js$/, musl ? /^node\.napi\..*\.node$/ : /\.glibc\.node$/],
    },
  },
  '@harperfast/extended-iterable': { files: onlyFiles('dist/index.cjs') },
  'detect-libc': { files: () => [/^lib\/.*\.js$/] },
  msgpackr: { files: onlyFiles('dist/node.cjs') },
  'node-gyp-build-optional-packages': { files: onlyFiles('index.js', 'node-gyp-build.js'), needs: ['detect-libc'] },
  'ordered-binary': { files: onlyFiles('dist/index.cjs') },
  'weak-lru-cache': { files: onlyFiles('dist/index.cjs') },
};

export interface Natives {
  /** Below node_modules/. */
  readonly tree: Tree;
  readonly dependencies: readonly Dependency[];
}

export async function collectNatives(product: Product, target: Target): Promise<Natives> {
  const tree: Tree = new Map();
  const found = new Map<string, Dependency>();

  const addFiles = async (dependency: Dependency, wanted: readonly (string | RegExp)[]): Promise<void> => {
    found.set(dependency.name, dependency);
    const files = readdirSync(dependency.folder, { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => relative(dependency.folder, join(entry.parentPath, entry.name)));
    const chosen = wanted.flatMap((one) => files.filter((file) => (typeof one === 'string' ? file === one : one.test(file))));
    if (chosen.length < wanted.length)
      throw new Failure(`${dependency.name} ${dependency.version} lacks a file: ${wanted.join(', ')}`);
    for (const file of ['package.json', ...licenseFiles(dependency), ...chosen].toSorted())
      tree.set(`${dependency.name}/${file}`, { octets: await readFile(join(dependency.folder, file)) });
  };

  const addPackage = async (name: string, from: string): Promise<void> => {
    if (found.has(name)) return;
    const dependency = await resolveFrom(from, name);
    const recipe = RECIPES[name];
    if (dependency === undefined || recipe === undefined)
      throw new Failure(`${name} is not installed`, { advice: 'Run: pnpm install' });
    await addFiles(dependency, recipe.files(target));
    for (const need of recipe.needs ?? []) await addPackage(need, dependency.folder);
    for (const arch of recipe.perArch === undefined ? [] : target.archs) {
      const foreign = recipe.perArch!.name(arch);
      const compiled = (await resolveFrom(dependency.folder, foreign)) ?? (await fetchPinned(foreign, dependency.version));
      await addFiles(compiled, recipe.perArch!.files(arch, target.musl));
    }
  };

  for (const name of product.natives) await addPackage(name, await packageDependingOn(name));
  return { tree, dependencies: [...found.values()] };
}

/** Direct dependencies, at the version that is installed. */
export async function directNatives({ natives }: Product): Promise<readonly Dependency[]> {
  return Promise.all(
    natives.map(async (name) => dependencyIn(await realpath(join(await packageDependingOn(name), 'node_modules', name)))),
  );
}

/** The package of this project that has it among its dependencies. */
async function packageDependingOn(name: string): Promise<string> {
  return realpath(join(ROOT, 'packages', name === 'lmdb' ? 'lmdb' : 'runtime'));
}
