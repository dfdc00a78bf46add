/** One command as one file of JavaScript, with a few more that are loaded when they are needed. */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure } from '@latchkey/runtime';
import { rolldown } from 'rolldown';
import { patchSource } from './changes.js';
import { type Dependency, dependencyOf } from './dependency.js';
import { type Product, ROOT } from './product.js';
import type { Tree } from './tree.js';

/** `name`: the folder of packages/ that its entries are built in. */
type BundleInput = Pick<Product, 'name' | 'entries' | 'parts' | 'natives'>;

export interface Bundle {
  /** `dist/main.js` and what it loads. */
  readonly tree: Tree;
  /** Packages of others that something of is in it. */
  readonly dependencies: readonly Dependency[];
}

/**
 * Instead of what npm packages bring along for other platforms: `readable-stream` is a copy of Node.js's own streams, and pino starts a worker
 * only for transports, which nothing here has.
 */
const ALIASES: Readonly<Record<string, string>> = {
  'readable-stream': 'node:stream',
  'thread-stream': fileURLToPath(new URL('no-worker.js', import.meta.url)),
};

/** CommonJS: it starts sooner than ES modules, and `#!` lines need no package.json to say what they are. */
export async function bundle(product: BundleInput): Promise<Bundle> {
  const build = await rolldown({
    input: Object.fromEntries(
      Object.entries(product.entries).map(([file, module]) => [file, join(ROOT, 'packages', product.name, 'dist', module)]),
    ),
    platform: 'node',
    external: [/^node:/, ...product.natives.map((name) => new RegExp(`^${name}$`))],
    resolve: { alias: { ...ALIASES, ...exactAliases(product.parts) } },
    logLevel: 'silent',
    // What is needed from the start lies in one file: what is loaded later may take of it from there.
    preserveEntrySignatures: 'allow-extension',
    plugins: [{ name: 'changes', transform: patchSource }],
  });
  const { output } = await build.generate({ format: 'cjs', minify: true, comments: false });
  await build.close();
  const tree: Tree = new Map();
  const dependencies = new Map<string, Dependency>();
  for (const chunk of output) {
    if (chunk.type !== 'chunk') throw new Failure(`${product.name}: ${chunk.fileName} is not code`);
    tree.set(`dist/${chunk.fileName}`, {
      octets: ascii(chunk.code),
      ...(chunk.fileName === 'main.js' ? { executable: true } : {}),
    });
    for (const module of chunk.moduleIds) {
      const dependency = dependencyOf(module);
      if (dependency !== undefined) dependencies.set(`${dependency.name}@${dependency.version}`, dependency);
    }
  }
  return { tree, dependencies: [...dependencies.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

/** For the alias of a package, but not of its files. */
function exactAliases(parts: Product['parts']): Record<string, string> {
  return Object.fromEntries(Object.entries(parts).map(([name, file]) => [`${name}$`, file]));
}

/** V8 keeps a source with one character beyond Latin-1 in it in twice the memory. */
function ascii(code: string): string {
  return code.replaceAll(/[^\0-\x7f]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
