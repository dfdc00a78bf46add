// Proves what the scripts of a tarball and of a Debian package do on a machine: who can read what
// is installed, what is restarted, and what is left after a purge.

import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { postrm } from '../src/deb.js';
import { unitsOf } from '../src/install-layout.js';
import { PRODUCTS, ROOT } from '../src/product.js';

const INSTALL = readFileSync(join(ROOT, 'packaging/tarball/install.sh'), 'utf8').replaceAll('@NAME@', 'controller');

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-scripts-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

function put(path: string, text = ''): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}

/** What a tarball unpacks to, as far as the script looks at it. */
function unpacked(script: string): string {
  const folder = newFolder();
  put(join(folder, 'install.sh'), script);
  for (const file of [
    'etc/latchkey/controller.yaml',
    'etc/init.d/latchkey-controller',
    'usr/share/man/man1/latchkey-controller.1.gz',
  ])
    put(join(folder, file));
  put(join(folder, 'usr/lib/latchkey/controller/dist/main.js'));
  for (const unit of ['latchkey-controller.service', 'latchkey-controller-deliver.service'])
    put(join(folder, 'usr/lib/systemd/system', unit));
  // As tar does it for root, whatever the umask of the tests is.
  shell('chmod -R go+rX "$1"', folder);
  return folder;
}

function shell(script: string, ...args: readonly string[]): string {
  const { status, stdout, stderr } = spawnSync('sh', ['-c', script, 'sh', ...args], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${script} ended with ${status}:\n${stdout}${stderr}`);
  return stdout;
}

describe('the script of a tarball', () => {
  it('lets every user read what it installs, whatever the umask of root is', () => {
    const root = newFolder();
    mkdirSync(join(root, 'usr/lib/systemd/system'), { recursive: true });
    shell('umask 077; DESTDIR=$1 sh "$2"', root, join(unpacked(INSTALL), 'install.sh'));
    for (const path of [
      'usr/lib/latchkey',
      'usr/lib/latchkey/controller',
      'usr/lib/latchkey/controller/dist/main.js',
      'etc/latchkey',
    ])
      expect(statSync(join(root, path)).mode & 0o004, path).toBe(0o004);
  });

  it('restarts what ran before, and stops what it removes', () => {
    const [machine, folder] = [newFolder(), unpacked('')];
    mkdirSync(join(machine, 'systemd'));
    const [services = ''] =
      /^services\(\) \{[^]*?^\}$/m.exec(INSTALL.replaceAll('/run/systemd/system', join(machine, 'systemd'))) ?? [];
    const run = (action: string): string =>
      shell(`cd "$1"; root= name=controller; systemctl() { echo "$*"; }; ${services}\nservices ${action}`, folder);
    expect(run('restart')).toBe(
      '--system daemon-reload\ntry-restart latchkey-controller-deliver.service\ntry-restart latchkey-controller.service\n',
    );
    expect(run('stop')).toContain('stop latchkey-controller.service\n');
  });

  it('restarts no service of this machine as it installs below another root', () => {
    const [services = ''] = /^services\(\) \{[^]*?^\}$/m.exec(INSTALL) ?? [];
    expect(shell(`root=/other name=controller; systemctl() { echo "$*"; }; ${services}\nservices restart`)).toBe('');
  });
});

describe('purging a Debian package', () => {
  it.each(PRODUCTS.map((product) => [product.command, product] as const))('%s leaves no folder of its units', (_, product) => {
    const root = newFolder();
    const folders = unitsOf(product).flatMap((unit) =>
      [...readFileSync(join(ROOT, 'packaging/systemd', unit), 'utf8').matchAll(/^(State|Runtime)Directory=(.+)$/gm)].flatMap(
        ([, kind, folder = '']) => {
          const base = kind === 'State' ? 'var/lib' : 'run';
          return [join(root, base, folder), join(root, base, 'private', folder)];
        },
      ),
    );
    expect(folders.length).toBeGreaterThan(0);
    for (const folder of folders) put(join(folder, 'keys'));
    const other = join(root, 'var/lib/latchkey/other/keys');
    put(other);
    const script = postrm(product).replaceAll(/(?<![\w/])\/(?=(?:var|run|etc)\/)/g, `${root}/`);
    shell(`command() { false; }; set -- purge\n${script.replace(/^#!.*\n/, '')}`);
    expect(folders.filter((folder) => existsSync(folder))).toEqual([]);
    expect(existsSync(other)).toBe(true);
  });
});
