/**
 * The commands as they get installed, made of this checkout: what tests and measurements run. Only
 * their compiled parts stay where they are.
 */

import { join } from 'node:path';
import { bundle } from './bundle.js';
import { dependencyIn } from './dependency.js';
import { directNatives } from './native.js';
import { manifest } from './npm.js';
import { type Product, PRODUCTS, ROOT } from './product.js';
import { mount, writeTree, type Tree } from './tree.js';

/**
 * @param folder an empty one, or a new one
 * @param only `auth-server`: its folder of packages/; all of them unless named
 * @returns the folder with `latchkey-auth-server` and its like
 */
export async function installCheckout(folder: string, only?: string): Promise<string> {
  const tree: Tree = new Map();
  const { version } = dependencyIn(ROOT);
  for (const product of PRODUCTS.filter(({ name }) => name === (only ?? name))) await mountProduct(tree, product, version);
  await writeTree(tree, folder);
  return join(folder, 'bin');
}

async function mountProduct(tree: Tree, product: Product, version: string): Promise<void> {
  const home = `lib/latchkey/${product.name}`;
  mount(tree, home, (await bundle(product)).tree);
  tree.set(`${home}/package.json`, { octets: manifest(product, version, []) });
  for (const { name, folder } of await directNatives(product)) tree.set(`${home}/node_modules/${name}`, { link: folder });
  tree.set(`bin/${product.command}`, { link: `../${home}/dist/main.js` });
}
