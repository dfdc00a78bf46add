/** One command as one file of JavaScript, with a few more that are loaded when they are needed. */

import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Failure } from '@latchkey/runtime';
import { rolldown } from 'rolldown';
import { type Dependency, dependencyOf } from './dependency.js';
import { type Product, ROOT } from './product.js';
import type { Tree } from './tree.js';

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
const INSTEAD: Readonly<Record<string, string>> = {
  'readable-stream': 'node:stream',
  'thread-stream': fileURLToPath(new URL('no-worker.js', import.meta.url)),
};

/** CommonJS: it starts sooner than ES modules, and `#!` lines need no package.json to say what they are. */
export async function bundle(product: Product): Promise<Bundle> {
  const build = await rolldown({
    input: { main: join(ROOT, 'packages', product.name, 'dist/main.js') },
    platform: 'node',
    external: [/^node:/, ...product.natives.map((name) => new RegExp(`^${name}$`))],
    resolve: { alias: INSTEAD },
    logLevel: 'silent',
    plugins: [{ name: 'decrypt tables when asked for', transform: tablesWhenAsked }],
  });
  const { output } = await build.generate({ format: 'cjs', minify: true, comments: false });
  await build.close();
  const tree: Tree = new Map();
  const dependencies = new Map<string, Dependency>();
  for (const chunk of output) {
    if (chunk.type !== 'chunk') throw new Failure(`${product.command}: ${chunk.fileName} is not code`);
    tree.set(`dist/${chunk.fileName}`, { octets: ascii(chunk.code), ...(chunk.isEntry ? { executable: true } : {}) });
    for (const module of chunk.moduleIds) {
      const dependency = dependencyOf(module);
      if (dependency !== undefined) dependencies.set(`${dependency.name}@${dependency.version}`, dependency);
    }
  }
  return { tree, dependencies: [...dependencies.values()].toSorted((a, b) => (a.name < b.name ? -1 : 1)) };
}

/**
 * AES makes 1.3 MB of tables as @noble/ciphers is loaded, half of them to decrypt blocks, which CCM and CMAC never do: that half is made where it is
 * asked for. A version that is written otherwise fails the build.
 */
function tablesWhenAsked(code: string, id: string): string | undefined {
  if (!id.endsWith('/@noble/ciphers/aes.js')) return undefined;
  const made = /const tableDecoding = (?:\/\* @__PURE__ \*\/ )?(genTtable\(invSbox, [^\n]*\));\n/;
  const call = made.exec(code)?.[1];
  if (call === undefined)
    throw new Failure('@noble/ciphers makes its tables in another way', {
      advice: 'Look at tablesWhenAsked in packages/release/src/bundle.ts.',
    });
  const rest = code.replace(made, '').replaceAll(/\btableDecoding\b/g, 'decoding()');
  return `${rest}\nlet tables;\nfunction decoding() {\n  return (tables ??= ${call});\n}\n`;
}

/** V8 keeps a source with one character beyond Latin-1 in it in twice the memory. */
function ascii(code: string): string {
  return code.replaceAll(/[^\0-\x7f]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
