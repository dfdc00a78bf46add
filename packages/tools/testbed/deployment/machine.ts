/**
 * Debian machines with systemd as PID 1, each in namespaces of its own, on one network that is
 * theirs alone: what a unit or a package does there is what it does on a gateway. Takes root, Linux
 * and debootstrap.
 */

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import type { CommandResult } from '../src/process.js';

/** Debian 13 is the first whose Node.js is new enough. */
const RELEASE = 'trixie';
const PACKAGES = 'ca-certificates,iproute2,nodejs,systemd';
const BOOT_TIMEOUT_MS = 300_000;
/** For debootstrap, which fetches and unpacks some hundred packages. */
const DEBOOTSTRAP_TIMEOUT_MS = 1_500_000;

/** Why there can be no machines here; `undefined` where there can. */
export function missingForMachines(): string | undefined {
  if (process.getuid?.() !== 0) return 'needs root';
  if (spawnSync('debootstrap', ['--version']).error !== undefined) return 'needs debootstrap';
  const { status } = spawnSync('unshare', ['--mount', '--cgroup', 'sh', '-c', 'mount -t cgroup2 none /mnt'], { stdio: 'ignore' });
  return status === 0 ? undefined : 'needs a kernel that lets it mount cgroup2';
}

/** The root of a Debian machine with nothing of ours on it; made once, kept for the next run. */
export async function debianRoot(): Promise<string> {
  const root = join(tmpdir(), `latchkey-debian-${RELEASE}`);
  if (existsSync(root)) return root;
  const making = await mkdtemp(`${root}-`);
  try {
    await mustRun('debootstrap', ['--variant=minbase', `--include=${PACKAGES}`, RELEASE, making], DEBOOTSTRAP_TIMEOUT_MS);
    await writeFile(join(making, 'etc/machine-id'), '');
    await rename(making, root);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    // Another test may have made it in the meantime.
    if (!existsSync(root)) throw error;
  }
  return root;
}

/** Runs a command that has to succeed. */
export async function mustRun(command: string, args: readonly string[], limitMs?: number): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, limitMs);
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
  return stdout;
}

async function run(command: string, args: readonly string[], limitMs = 300_000): Promise<CommandResult> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], timeout: limitMs, killSignal: 'SIGKILL' });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout, stderr };
}

/**
 * Makes the namespaces' file system and hands over to systemd. Arguments: the root below, a folder
 * for what is written.
 */
const BOOT = `
set -eu
lower=$1 work=$2
mount --make-rprivate /
mkdir -p $work/upper $work/work $work/root
mount -t overlay overlay -o lowerdir=$lower,upperdir=$work/upper,workdir=$work/work $work/root
root=$work/root
mount -t proc proc $root/proc
mount -t sysfs -o ro sysfs $root/sys
mount -t tmpfs -o mode=755 tmpfs $root/sys/fs/cgroup
mount -t cgroup2 cgroup2 $root/sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs $root/run
mount --rbind /dev $root/dev
cd $root
mkdir -p .host
pivot_root . .host
umount -l /.host
# As systemd finds it on a machine: credentials come to a service by a mount made elsewhere.
mount --make-rshared /
exec env -i container=other SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd
`;

/** A network of machines. */
export class Lab {
  /** For what the tests bring along; it goes with the lab. */
  readonly folder: string;
  readonly #root: string;
  readonly #bridge: string;
  readonly #machines: Machine[] = [];

  private constructor(folder: string, root: string) {
    this.folder = folder;
    this.#root = root;
    // The name of an interface has 15 characters at most.
    this.#bridge = `lk${process.pid}`;
  }

  static async create(): Promise<Lab> {
    const root = await debianRoot();
    const lab = new Lab(await mkdtemp(join(tmpdir(), 'latchkey-lab-')), root);
    await mustRun('ip', ['netns', 'add', lab.#bridge]);
    await mustRun('ip', ['-n', lab.#bridge, 'link', 'add', 'name', 'switch', 'type', 'bridge']);
    await mustRun('ip', ['-n', lab.#bridge, 'link', 'set', 'switch', 'up']);
    return lab;
  }

  /** Boots a machine. `address` with its prefix length, e.g. 192.0.2.7/24. */
  async boot(name: string, address: string): Promise<Machine> {
    const folder = join(this.folder, name);
    await mkdir(folder);
    await mustRun('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'tmpfs', folder]);
    const kinds = ['--mount', '--pid', '--uts', '--ipc', '--net', '--cgroup'];
    const child = spawn('unshare', [...kinds, '--fork', '--kill-child', 'sh', '-c', BOOT, 'boot', this.#root, folder], {
      stdio: 'ignore',
    });
    const machine = new Machine(name, folder, child);
    this.#machines.push(machine);
    await machine.booted();
    const end = `${this.#bridge}-${this.#machines.length}`;
    await mustRun('ip', [
      '-n',
      this.#bridge,
      'link',
      'add',
      'name',
      end,
      'type',
      'veth',
      'peer',
      'name',
      'lan',
      'netns',
      String(machine.pid),
    ]);
    await mustRun('ip', ['-n', this.#bridge, 'link', 'set', end, 'master', 'switch', 'up']);
    for (const line of [`address add ${address} dev lan`, 'link set lan up', 'link set lo up']) await machine.must(`ip ${line}`);
    return machine;
  }

  async remove(): Promise<void> {
    for (const machine of this.#machines) await machine.stop();
    await run('ip', ['netns', 'delete', this.#bridge]);
    await rm(this.folder, { recursive: true, force: true });
  }
}

export class Machine {
  readonly name: string;
  /** Where what it writes is kept. */
  readonly folder: string;
  readonly #child: ChildProcess;
  #pid = 0;

  constructor(name: string, folder: string, child: ChildProcess) {
    this.name = name;
    this.folder = folder;
    this.#child = child;
  }

  /** Of its systemd, as seen from here. */
  get pid(): number {
    return this.#pid;
  }

  /** Resolves when systemd has started what it starts by itself. */
  async booted(): Promise<void> {
    const limit = performance.now() + BOOT_TIMEOUT_MS;
    for (; performance.now() < limit; await pause(100)) {
      this.#pid ||= Number((await run('pgrep', ['-P', String(this.#child.pid)])).stdout.trim());
      if (this.#pid === 0) continue;
      // Units that a container has no use for may fail; before systemd listens the command does.
      const { stdout } = await this.run('test "$(cat /proc/1/comm)" = systemd && systemctl is-system-running --wait');
      if (/^(?:running|degraded)$/m.test(stdout)) return;
    }
    throw new Error(`${this.name} has not booted within ${BOOT_TIMEOUT_MS / 1000} s`);
  }

  /** Runs a line of the shell on it as its root would. */
  run(line: string, limitMs?: number): Promise<CommandResult> {
    const enter = ['--target', String(this.#pid), '--all'];
    const environment = [
      'env',
      '-i',
      'HOME=/root',
      'USER=root',
      'LOGNAME=root',
      'LANG=C.UTF-8',
      'PATH=/usr/sbin:/usr/bin:/sbin:/bin',
    ];
    return run('nsenter', [...enter, ...environment, 'sh', '-c', `cd /root\n${line}`], limitMs);
  }

  /** The same for a line that has to succeed; its standard output. */
  async must(line: string): Promise<string> {
    const { code, stdout, stderr } = await this.run(line);
    if (code === 0) return stdout;
    const journal = (await this.run("journalctl --no-pager -o cat -n 20 -u 'latchkey-*'")).stdout;
    throw new Error(`on ${this.name}: ${line}\nended with ${code}:\n${stdout}${stderr}${journal}`);
  }

  /** Puts a file of this machine into its /root. */
  async receive(path: string, name: string): Promise<void> {
    await mustRun('cp', [path, `/proc/${this.#pid}/root/root/${name}`]);
  }

  async stop(): Promise<void> {
    const ended = once(this.#child, 'close');
    this.#child.kill('SIGKILL');
    if (this.#child.exitCode === null && this.#child.signalCode === null) await ended;
    await run('umount', ['-l', this.folder]);
  }
}
