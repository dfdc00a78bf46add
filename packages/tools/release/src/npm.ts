import { type Product, ROOT } from './product.js';
import type { Dependency } from './dependency.js';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Tree } from './tree.js';

/**
 * The tarball that `npm pack` would make: the bundle, and what is built for a processor as exact
 * dependencies.
 */
export function npmTree(product: Product, version: string, bundle: Tree, natives: readonly Dependency[], words: string): Tree {
  const tree: Tree = new Map(bundle);
  tree.set('package.json', { octets: manifest(product, version, natives) });
  tree.set('README.md', { octets: readme(product) });
  tree.set('LICENSE', { octets: readFileSync(join(ROOT, 'LICENSE')) });
  tree.set('THIRD-PARTY-NOTICES', { octets: words });
  return tree;
}

/**
 * The package.json of what is installed, also where it is not npm that does it: the command reads
 * its version there.
 */
export function manifest({ command, program }: Product, version: string, natives: readonly Dependency[]): string {
  const json = {
    name: command,
    version,
    description: program.description(),
    license: 'Apache-2.0',
    type: 'commonjs',
    bin: { [command]: 'dist/main.js' },
    files: ['dist', 'THIRD-PARTY-NOTICES'],
    engines: { node: '>=20.19' },
    dependencies: Object.fromEntries(natives.map((native) => [native.name, native.version])),
  };
  return `${JSON.stringify(json, null, 2)}\n`;
}

function readme({ command, program, about }: Product): string {
  return `# ${command}\n\n${program.description()}\n\n${about.join('\n')}\n\n    $ ${command} --help\n`;
}
