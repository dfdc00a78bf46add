/** What a system without npm gets, by where it lies there: a .deb has all of it, a tarball too. */

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { bash, fish, zsh } from './completion.js';
import { manual } from './manual.js';
import { manifest } from './npm.js';
import { commandTree } from './command-tree.js';
import { type Product, PRODUCTS, ROOT } from './product.js';
import { mount, type Tree } from './tree.js';

export interface ReleaseParts {
  readonly version: string;
  /** Of the commit, seconds. */
  readonly epoch: number;
  readonly bundle: Tree;
  /** node_modules */
  readonly natives: Tree;
  readonly notices: string;
}

/** Where the system's Node.js is; a tarball finds it by PATH. */
const SYSTEM_NODE = '#!/usr/bin/node';

export function installedTree(product: Product, parts: ReleaseParts): Tree {
  const { name, command, program } = product;
  const { version, epoch } = parts;
  const tree: Tree = new Map();
  const home = `usr/lib/latchkey/${name}`;
  mount(tree, home, parts.bundle);
  mount(tree, `${home}/node_modules`, parts.natives);
  tree.set(`${home}/package.json`, { octets: manifest(product, version, []) });
  tree.set(`usr/bin/${command}`, { link: `../lib/latchkey/${name}/dist/main.js` });

  const commands = commandTree(program);
  const page = manual(commands, {
    version,
    date: new Date(epoch * 1000).toISOString().slice(0, 10),
    files: [
      [`/etc/latchkey/${name}.yaml`, 'configuration'],
      [`/var/lib/latchkey/${name}`, 'state: keys, for its own user alone'],
    ],
    seeAlso: PRODUCTS.filter((other) => other.name !== name).map((other) => other.command),
  });
  tree.set(`usr/share/man/man1/${command}.1.gz`, { octets: gzipSync(page, { level: 9 }) });
  tree.set(`usr/share/bash-completion/completions/${command}`, { octets: bash(commands) });
  tree.set(`usr/share/zsh/vendor-completions/_${command}`, { octets: zsh(commands) });
  tree.set(`usr/share/fish/vendor_completions.d/${command}.fish`, { octets: fish(commands) });
  tree.set(`etc/latchkey/${name}.yaml`, { octets: readFileSync(join(ROOT, `packaging/config/${name}.yaml`)) });
  for (const unit of unitsOf(product))
    tree.set(`usr/lib/systemd/system/${unit}`, { octets: readFileSync(join(ROOT, 'packaging/systemd', unit)) });
  const firewall = join(ROOT, `packaging/nftables/${command}.nft`);
  if (existsSync(firewall)) tree.set(`usr/share/doc/${command}/${command}.nft`, { octets: readFileSync(firewall) });
  return tree;
}

/** A .deb names the interpreter by its path, as Debian has it. */
export function withSystemNode(tree: Tree): Tree {
  return new Map(
    [...tree].map(([path, entry]) => {
      if ('link' in entry || entry.executable !== true) return [path, entry];
      return [path, { ...entry, octets: String(entry.octets).replace(/^#!.*/, SYSTEM_NODE) }];
    }),
  );
}

/** Services and timers, by name. */
export function unitsOf({ command }: Product): string[] {
  const folder = join(ROOT, 'packaging/systemd');
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => file.startsWith(`${command}.`) || file.startsWith(`${command}-`))
    .toSorted();
}

/** What systemd makes for the units: state, and folders in /run, one of which outlives its unit. */
export function foldersOf(product: Product): string[] {
  const folders = unitsOf(product).flatMap((unit) => {
    const text = readFileSync(join(ROOT, 'packaging/systemd', unit), 'utf8');
    return [...text.matchAll(/^(State|Runtime)Directory=(\S+)$/gm)].flatMap(([, kind, folder]) => {
      const base = kind === 'State' ? '/var/lib' : '/run';
      return [`${base}/${folder}`, `${base}/private/${folder}`];
    });
  });
  return [...new Set(folders)];
}
