// Proves that `pnpm release` makes the same octets twice, and that what it makes can be installed,
// used, upgraded, removed and purged: by npm, by dpkg in a Debian root, and from the tarball.

import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { debianRoot } from './machine.js';
import { orderAndInstall, showNode, startNetwork } from '../test/fixtures.js';

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const NAMES = ['auth-server', 'controller', 'node-agent'] as const;
const ARCH = process.arch === 'arm64' ? 'arm64' : 'amd64';
const folder = mkdtempSync(join(tmpdir(), 'latchkey-release-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a program that must succeed, and gives all it said. */
function run(
  program: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv } = {},
): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8', ...options });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? status}\n${stdout}${stderr}`);
  return stdout + stderr;
}

/** A checkout of its own, built and released. */
function releaseFrom(name: string, ...more: readonly string[]): string {
  const [clone, out] = [join(folder, name), join(folder, `${name}-release`)];
  if (!existsSync(clone)) {
    if (existsSync(join(ROOT, '.git'))) run('git', ['clone', '--quiet', ROOT, clone]);
    else cpSync(ROOT, clone, { recursive: true, filter: (path) => !/\/(?:node_modules|dist|release)$/.test(path) });
    run('npx', ['-y', 'pnpm@12', 'install', '--frozen-lockfile', '--prefer-offline'], { cwd: clone });
  }
  rmSync(out, { recursive: true, force: true });
  run('npx', ['-y', 'pnpm@12', 'release', '--out', out, '--arch', ARCH, ...more], { cwd: clone });
  return out;
}

let release: string;
beforeAll(() => {
  release = releaseFrom('one');
});

it('gives the same octets from two clean builds at different places', () => {
  const again = releaseFrom('elsewhere/two');
  const sums = readFileSync(join(release, 'SHA256SUMS'), 'utf8');
  expect(readFileSync(join(again, 'SHA256SUMS'), 'utf8')).toBe(sums);
  expect(sums.trim().split('\n')).toHaveLength(2 * 3 * NAMES.length);
  run('sha256sum', ['--check', '--strict', 'SHA256SUMS'], { cwd: again });
});

it('has an SBOM beside each artefact that names all that is in it', () => {
  for (const file of readdirSync(release).filter((name) => /\.(?:deb|gz|tgz)$/.test(name))) {
    const sbom = JSON.parse(readFileSync(join(release, `${file}.cdx.json`), 'utf8')) as Record<string, unknown>;
    expect(sbom).toMatchObject({ bomFormat: 'CycloneDX', metadata: { component: { name: file } } });
    expect(sbom).not.toHaveProperty('serialNumber');
    const names = (sbom['components'] as { readonly purl: string }[]).map(({ purl }) => purl.replace(/@[^@]*$/, ''));
    for (const name of ['coap', 'pino', 'zod', 'fs-native-extensions', ...(file.includes('node-agent') ? [] : ['lmdb'])])
      expect(names, file).toContain(`pkg:npm/${name}`);
  }
});

describe('npm', () => {
  it('installs each package from its file, and the three of them join a node', async () => {
    const prefix = join(folder, 'npm');
    for (const name of NAMES)
      run('npm', [
        'install',
        '--global',
        '--no-audit',
        '--no-fund',
        '--prefix',
        prefix,
        join(release, `latchkey-${name}-0.1.0.tgz`),
      ]);
    await expectJoin(join(prefix, 'bin'));
  });
});

describe('the tarball', () => {
  it('puts everything in place, joins a node, keeps a configuration, and can be removed', async () => {
    const root = join(folder, 'system');
    for (const name of NAMES) {
      run('tar', ['-xzf', join(release, `latchkey-${name}-0.1.0-linux.tar.gz`), '-C', folder]);
      run('sh', [join(folder, `latchkey-${name}-0.1.0-linux`, 'install.sh')], { env: { ...process.env, DESTDIR: root } });
    }
    await expectJoin(join(root, 'usr/bin'));
    expect(readdirSync(join(root, 'etc/latchkey'))).toEqual(NAMES.map((name) => `${name}.yaml`));
    expect(readdirSync(join(root, 'usr/share/doc/latchkey-controller'))).toContain('latchkey-controller.nft');
    for (const name of NAMES)
      run('sh', [join(folder, `latchkey-${name}-0.1.0-linux`, 'install.sh'), 'remove'], {
        env: { ...process.env, DESTDIR: root },
      });
    expect(readdirSync(join(root, 'usr/bin'))).toEqual([]);
    expect(readdirSync(join(root, 'usr/lib/latchkey'))).toEqual([]);
    expect(readdirSync(join(root, 'etc/latchkey'))).toEqual(NAMES.map((name) => `${name}.yaml`));
  });
});

const noDebian =
  process.getuid?.() !== 0
    ? 'SKIPPED: needs root'
    : spawnSync('debootstrap', ['--version']).error === undefined
      ? ''
      : 'SKIPPED: no debootstrap here';

describe.skipIf(noDebian !== '')(`Debian packages ${noDebian}`, () => {
  const root = join(folder, 'debian');
  const inside = (command: string): string =>
    run('chroot', [root, 'sh', '-c', command], {
      env: { PATH: process.env['PATH'], LC_ALL: 'C', DEBIAN_FRONTEND: 'noninteractive' },
    });
  const state = (name: string): string => `/var/lib/latchkey/${name}`;

  beforeAll(async () => {
    run('cp', ['--archive', await debianRoot(), root]);
    cpSync(release, join(root, 'release'), { recursive: true });
    cpSync(releaseFrom('one', '--as', '0.1.1', '--without', 'npm,tar'), join(root, 'newer'), { recursive: true });
  });

  it('install with nothing but nodejs, run as the commands they are, and start nothing', () => {
    inside(`dpkg --install /release/*.deb`);
    for (const name of NAMES) {
      expect(inside(`latchkey-${name} --version`)).toContain('0.1.0');
      expect(inside(`dpkg --verify latchkey-${name}`)).toBe('');
      expect(inside(`stat -c %a ${state(name)}`)).toBe('700\n');
      expect(inside(`dpkg --listfiles latchkey-${name}`)).toMatch(/systemd\/system\/.*\.service/);
      expect(inside(`dpkg-query --showformat='\${Conffiles}' --show latchkey-${name}`)).toContain(`/etc/latchkey/${name}.yaml`);
    }
    inside(`latchkey-auth-server init --data ${state('auth-server')}`);
    const enabled = readdirSync(join(root, 'etc/systemd/system'), { recursive: true, encoding: 'utf8' });
    expect(enabled.filter((name) => name.includes('latchkey'))).toEqual([]);
  });

  it('are upgraded with state and an edited configuration in place', () => {
    inside(`echo 'log_level: debug' >>/etc/latchkey/auth-server.yaml`);
    inside('dpkg --install /newer/*.deb');
    for (const name of NAMES) expect(inside(`latchkey-${name} --version`)).toContain('0.1.1');
    expect(inside('tail -1 /etc/latchkey/auth-server.yaml')).toBe('log_level: debug\n');
    expect(inside(`latchkey-auth-server node list --data ${state('auth-server')}`)).not.toBe('');
  });

  it('are removed without their keys, and purged with them', () => {
    const packages = NAMES.map((name) => `latchkey-${name}`).join(' ');
    inside(`dpkg --remove ${packages}`);
    expect(inside('ls /usr/lib/latchkey /usr/bin/latchkey-* 2>&1 || true')).not.toMatch(/^latchkey-/m);
    expect(existsSync(join(root, state('auth-server'), 'master.key'))).toBe(true);
    expect(existsSync(join(root, 'etc/latchkey/auth-server.yaml'))).toBe(true);
    inside(`dpkg --purge ${packages}`);
    for (const path of ['/var/lib/latchkey', '/etc/latchkey', '/usr/lib/latchkey'])
      expect(existsSync(join(root, path)), path).toBe(false);
  });
});

/** A network of the commands in `bin`, by the way people join a node. */
async function expectJoin(bin: string): Promise<void> {
  process.env['LATCHKEY_TESTBED_BIN'] = bin;
  const { network } = await startNetwork();
  try {
    const { id, state } = await orderAndInstall(network);
    expect(await network.run('node-agent', ['--version'])).toBe('0.1.0\n');
    await network.run('node-agent', ['join', '--state', state]);
    expect(await showNode(network, id)).toMatchObject({ state: 'joined' });
  } finally {
    await network.remove();
    delete process.env['LATCHKEY_TESTBED_BIN'];
  }
}
