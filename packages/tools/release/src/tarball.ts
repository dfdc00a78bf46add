/**
 * For a Linux without npm and dpkg: the same files with a script that puts them in place, and an
 * init script for OpenWrt.
 */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { installedTree, type ReleaseParts } from './install-layout.js';
import { type Product, ROOT } from './product.js';
import type { Tree } from './tree.js';

export function tarballTree(product: Product, parts: ReleaseParts): Tree {
  const { name, command } = product;
  const tree = installedTree(product, parts);
  tree.set(`etc/init.d/${command}`, { octets: readFileSync(join(ROOT, `packaging/openwrt/${command}`)), executable: true });
  tree.set(`usr/share/doc/${command}/LICENSE`, { octets: readFileSync(join(ROOT, 'LICENSE')) });
  tree.set(`usr/share/doc/${command}/THIRD-PARTY-NOTICES`, { octets: parts.notices });
  const script = readFileSync(join(ROOT, 'packaging/tarball/install.sh'), 'utf8').replaceAll('@NAME@', name);
  tree.set('install.sh', { octets: script, executable: true });
  return tree;
}
