/**
 * A Debian package, by dpkg-deb. Nothing is started by it: a unit wants its credential or its
 * registry first.
 */

import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { foldersOf, installedTree, type ReleaseParts, unitsOf, withSystemNode } from './install-layout.js';
import type { Product } from './product.js';
import { runTool } from './run-tool.js';
import { kibibytes, writeTree, type Tree } from './tree.js';

export type DebArch = 'amd64' | 'arm64';

const MAINTAINER = 'Latchkey <latchkey@localhost>';

/** Debian's revision of a version: nobody but us packages it. */
export function debVersion(version: string): string {
  return `${version}-1`;
}

export async function buildDeb(product: Product, arch: DebArch, parts: ReleaseParts, folder: string, to: string): Promise<void> {
  const tree = withSystemNode(installedTree(product, parts));
  const { command, name } = product;
  const doc = `usr/share/doc/${command}`;
  tree.set(`${doc}/copyright`, { octets: copyright() });
  tree.set(`${doc}/changelog.Debian.gz`, { octets: gzipSync(changelog(command, parts), { level: 9 }) });
  tree.set(`${doc}/THIRD-PARTY-NOTICES.gz`, { octets: gzipSync(parts.notices, { level: 9 }) });

  await writeTree(tree, folder);
  await chmod(folder, 0o755);
  const control = join(folder, 'DEBIAN');
  await mkdir(control);
  await chmod(control, 0o755);
  const files: readonly (readonly [string, string, number])[] = [
    ['control', controlFile(product, arch, parts.version, tree), 0o644],
    ['conffiles', `/etc/latchkey/${name}.yaml\n`, 0o644],
    ['postinst', postinst(product), 0o755],
    ['prerm', prerm(product), 0o755],
    ['postrm', postrm(product), 0o755],
  ];
  for (const [file, text, mode] of files) {
    await writeFile(join(control, file), text);
    await chmod(join(control, file), mode);
  }
  await runTool('dpkg-deb', ['--root-owner-group', '-Zxz', '--build', folder, to], {
    purpose: `build ${to}`,
    advice: 'Install dpkg, or leave Debian packages out with --without deb.',
    env: { SOURCE_DATE_EPOCH: String(parts.epoch) },
  });
}

function controlFile({ command, program, about }: Product, arch: DebArch, version: string, tree: Tree): string {
  return `Package: ${command}
Version: ${debVersion(version)}
Architecture: ${arch}
Maintainer: ${MAINTAINER}
Installed-Size: ${kibibytes(tree)}
Depends: nodejs (>= 20.19), libc6, libstdc++6, libgcc-s1
Section: net
Priority: optional
Description: ${synopsis(program.description())}
${about.map(folded).join('\n .\n')}
`;
}

/** Lines of 79 characters at most, as a description has them. */
function folded(text: string): string {
  return text.replaceAll(/(.{1,78})(?: |$)/g, ' $1\n').trimEnd();
}

/** Without article and capital, as Debian wants it. */
function synopsis(text: string): string {
  return text.charAt(0).toLowerCase() + text.slice(1);
}

function unitList(product: Product): string {
  return unitsOf(product).join(' ');
}

function postinst(product: Product): string {
  return `#!/bin/sh
set -e
if [ "$1" = configure ]; then
  # What lies here are keys. systemd gives it to the unit's own user at its first start.
  [ -d /var/lib/latchkey ] || install -d -m 0755 /var/lib/latchkey
  [ -e /var/lib/latchkey/${product.name} ] || [ -L /var/lib/latchkey/${product.name} ] || install -d -m 0700 /var/lib/latchkey/${product.name}
  if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
    # Nothing starts by itself; what ran before an upgrade runs on with the new version.
    if [ -n "$2" ]; then
      deb-systemd-invoke try-restart ${unitList(product)} >/dev/null || true
    fi
  fi
fi
exit 0
`;
}

function prerm(product: Product): string {
  return `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  deb-systemd-invoke stop ${unitList(product)} >/dev/null || true
fi
exit 0
`;
}

/** The script that dpkg runs once the files of a package are removed. */
export function postrm(product: Product): string {
  return `#!/bin/sh
set -e
if [ "$1" = remove ] && [ -d /run/systemd/system ]; then
  systemctl --system daemon-reload >/dev/null || true
fi
if [ "$1" = purge ]; then
  if command -v deb-systemd-helper >/dev/null; then
    deb-systemd-helper purge ${unitList(product)} >/dev/null || true
  fi
  # Purging is for good: the keys go, too. Where systemd gave a folder to a user of its own, it lies behind a link.
  rm -rf ${foldersOf(product).join(' ')}
  for folder in /var/lib/latchkey /var/lib/private/latchkey /run/latchkey /run/private/latchkey /etc/latchkey; do
    if [ -d "$folder" ]; then rmdir --ignore-fail-on-non-empty "$folder"; fi
  done
fi
exit 0
`;
}

function changelog(command: string, { version, epoch }: ReleaseParts): string {
  const date = new Date(epoch * 1000).toUTCString().replace('GMT', '+0000');
  return `${command} (${debVersion(version)}) unstable; urgency=medium

  * See CHANGELOG.md of Latchkey ${version}.

 -- ${MAINTAINER}  ${date}
`;
}

function copyright(): string {
  return `Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: latchkey

Files: *
Copyright: 2026 the authors of Latchkey
License: Apache-2.0
Comment: Parts of others are in it; THIRD-PARTY-NOTICES.gz beside this file has their terms.

License: Apache-2.0
 On Debian systems the text is in /usr/share/common-licenses/Apache-2.0.
`;
}
