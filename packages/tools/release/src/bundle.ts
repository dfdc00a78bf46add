/** One command as one file of JavaScript, with a few more that are loaded when they are needed. */

import { join } from 'node:path';
import { Failure } from '@latchkey/runtime/failure';
import { type OutputOptions, rolldown, type RolldownOutput } from 'rolldown';
import { bundleConsole } from './console-bundle.js';
import { patchSource } from './source-patches.js';
import { type Dependency, dependencyOf } from './dependency.js';
import { type Product, ROOT } from './product.js';
import type { Tree } from './tree.js';

/** `name`: the folder of packages/ that its entries are built in. */
type BundleInput = Pick<Product, 'name' | 'entries' | 'parts' | 'natives' | 'hasConsole'>;

export interface Bundle {
  /** `dist/main.js` and what it loads. */
  readonly tree: Tree;
  /** Packages of others that something of is in it. */
  readonly dependencies: readonly Dependency[];
}

/**
 * Instead of what npm packages bring along for other platforms: `readable-stream` is a copy of
 * Node.js's own streams.
 */
const ALIASES: Readonly<Record<string, string>> = { 'readable-stream': 'node:stream' };

/**
 * CommonJS: it starts sooner than ES modules, and `#!` lines need no package.json to say what they
 * are. Each entry is built by itself: a module that two entries have is in both, so that neither
 * loads the other.
 */
export async function bundle(product: BundleInput): Promise<Bundle> {
  const tree: Tree = new Map();
  const dependencies = new Map<string, Dependency>();
  const addDependencies = (moduleIds: readonly string[]): void => {
    for (const id of moduleIds) {
      const dependency = dependencyOf(id);
      if (dependency !== undefined) dependencies.set(`${dependency.name}@${dependency.version}`, dependency);
    }
  };
  for (const [name, module] of Object.entries(product.entries)) {
    for (const { fileName, code, moduleIds } of await buildEntry(product, name, module)) {
      tree.set(`dist/${fileName}`, { octets: ascii(code), ...(fileName === 'main.js' ? { executable: true } : {}) });
      addDependencies(moduleIds);
    }
  }
  if (product.hasConsole === true) {
    const { files, moduleIds } = await bundleConsole();
    // Where the API looks for it.
    for (const [path, text] of files) tree.set(`dist/console/${path}`, { octets: text });
    addDependencies(moduleIds);
  }
  return { tree, dependencies: [...dependencies.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

type Chunk = Extract<RolldownOutput['output'][number], { readonly type: 'chunk' }>;

async function buildEntry(product: BundleInput, name: string, module: string): Promise<readonly Chunk[]> {
  const build = await rolldown({
    input: { [name]: join(ROOT, 'packages', product.name, 'dist', module) },
    platform: 'node',
    external: [/^node:/, ...product.natives.map((native) => new RegExp(`^${native}$`))],
    resolve: { alias: { ...ALIASES, ...exactAliases(product.parts) } },
    logLevel: 'silent',
    preserveEntrySignatures: 'allow-extension',
    plugins: [{ name: 'changes', transform: patchSource }],
  });
  const options: OutputOptions = { format: 'cjs', minify: true, comments: false };
  const modules = new Set<string>();
  collectStartModules(`${name}.js`, await build.generate(options), modules);
  const { output } = await build.generate({
    ...options,
    codeSplitting: {
      // The group has the modules that it needs already.
      includeDependenciesRecursively: false,
      groups: [{ name, test: (id: string) => modules.has(id) }],
    },
  });
  await build.close();
  return output.map((chunk) => {
    if (chunk.type !== 'chunk') throw new Failure(`${product.name}: ${chunk.fileName} is not code`);
    return chunk;
  });
}

/**
 * Adds the modules that an entry loads at its start. They go into one file, and parts that are
 * loaded later take them from there: rolldown by itself gives what is shared files of its own,
 * which the node-agent would compile again at each start.
 */
function collectStartModules(file: string, { output }: Pick<RolldownOutput, 'output'>, modules: Set<string>): void {
  const chunk = output.find(({ fileName }) => fileName === file);
  if (chunk?.type !== 'chunk') return;
  for (const id of chunk.moduleIds) modules.add(id);
  for (const imported of chunk.imports) collectStartModules(imported, { output }, modules);
}

/** For the alias of a package, but not of its files. */
function exactAliases(parts: Product['parts']): Record<string, string> {
  return Object.fromEntries(Object.entries(parts).map(([name, file]) => [`${name}$`, file]));
}

/** V8 keeps a source with one character beyond Latin-1 in it in twice the memory. */
function ascii(code: string): string {
  return code.replaceAll(/[^\0-\x7f]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
