// What a daemon needs beside its work fails: file descriptors, /proc, its state folder, what the
// kernel's defaults are elsewhere. No daemon ends, none is deaf afterwards, and the work that can
// go on does. Real processes; root for most of it.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { mkdir, rename, rm } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { formatId } from '@latchkey/protocol';
import { describe, expect, it, type TestContext, vi } from 'vitest';
import type { CommandName, DaemonProcess } from '../src/process.js';
import { freePort, TestNetwork, type Order } from '../src/network.js';
import { CONTROLLER, endpointOf, ID_C } from './fixtures.js';
import { type Answer, get, httpOf, pollUntil } from './http.js';
import { CAN_RECEIVE, NotifyReceiver } from './notify-receiver.js';
import { type Endpoint, PeerNode, RawSocket } from './reference-peer.js';

const IS_ROOT = process.getuid?.() === 0;
const HAS_PRLIMIT = spawnSync('prlimit', ['--version']).status === 0;
/**
 * For what is waited for. A node that has failed n times in a row on a busy machine waits up to
 * 2^n times 2.5 s before it tries again.
 */
const LIMIT_MS = 600_000;

/** So short that a node has to renew its key soon and again. */
const LIFETIME = '8s';

vi.setConfig({ testTimeout: 2 * LIMIT_MS });

type Name = Exclude<CommandName, 'fleet'>;
const NAMES = ['auth-server', 'controller', 'node-agent'] as const;

interface Surroundings {
  /** As of a DaemonProcess. */
  readonly within?: readonly string[];
  readonly environment?: Partial<Record<Name, NodeJS.ProcessEnv>>;
  /** Where the daemons listen. */
  readonly listen?: { readonly server: string; readonly controller: string };
  /** Where the node finds its controller, if elsewhere than that listens. */
  readonly nid?: string;
  /** The controller's configuration, YAML. */
  readonly config?: string;
}

/**
 * The test that something belongs to, and is removed with. Tests run concurrently, since most wait:
 * there is no current one.
 */
type Context = Pick<TestContext, 'onTestFinished'>;

/** One of each, with nodes besides that are not up; all of it goes with the test. */
class Trio {
  readonly network: TestNetwork;
  readonly daemons: Readonly<Record<Name, DaemonProcess>>;
  readonly folders: Readonly<Record<Name, string>>;
  readonly others: readonly string[];
  readonly #context: Context;
  /** Its node is not installed. */
  readonly #spare: Order['lines'][number];
  readonly #ended = new Set<Name>();

  private constructor(
    context: Context,
    fields: Pick<Trio, 'network' | 'daemons' | 'folders' | 'others'>,
    spare: Order['lines'][number],
  ) {
    this.#context = context;
    this.#spare = spare;
    this.network = fields.network;
    this.daemons = fields.daemons;
    this.folders = fields.folders;
    this.others = fields.others;
    for (const name of NAMES) void this.daemons[name].ended().then(() => this.#ended.add(name));
  }

  /** `beforeStart`: the folders are there, the daemons are not. */
  static async start(
    context: Context,
    { within = [], environment = {}, listen, nid, config = '' }: Surroundings = {},
    beforeStart: (folders: Readonly<Record<Name, string>>) => Promise<void> | void = () => undefined,
  ): Promise<Trio> {
    const network = await TestNetwork.create();
    context.onTestFinished(() => network.remove());
    const { server, controller } = listen ?? { server: await freePort(), controller: await freePort() };
    const reached = nid ?? controller;
    await network.addController(CONTROLLER, reached, [listen === undefined ? server : `127.0.0.1:${endpointOf(server).port}`]);
    const { lines, manifest } = await network.order({ controller: CONTROLLER, count: 4, lifetime: LIFETIME });
    const [spare, ...installed] = lines;
    const [node = '', ...others] = await Promise.all(installed.map(({ idI }) => network.install(formatId(idI), manifest)));
    const folders = { 'auth-server': network.registry, controller: network.path('controller'), 'node-agent': node };
    await mkdir(folders.controller, { mode: 0o700 });
    await beforeStart(folders);
    const run = (name: Name, ...args: readonly string[]): DaemonProcess =>
      network.start(name, ['run', ...args, '--http', `unix:${network.path(`${name}.sock`)}`], environment[name], within);
    const daemons = {
      'auth-server': run('auth-server', '--data', folders['auth-server'], '--listen', server),
      controller: run(
        'controller',
        '--credential',
        network.credential(CONTROLLER),
        '--state',
        folders.controller,
        '--listen',
        controller,
        '--config',
        await network.file('controller.yaml', config),
      ),
      'node-agent': run('node-agent', '--state', folders['node-agent']),
    };
    const trio = new Trio(context, { network, daemons, folders, others }, spare!);
    await Promise.all(NAMES.map((name) => httpOf(daemons[name])));
    await trio.joinsAgain();
    return trio;
  }

  ask(name: Name, path: string): Promise<Answer> {
    return get(`unix:${this.network.path(`${name}.sock`)}`, path);
  }

  async faultsOf(name: Name): Promise<readonly string[]> {
    const { checks } = JSON.parse((await this.ask(name, '/readyz')).text) as { checks: Record<string, string> };
    return Object.keys(checks).filter((check) => checks[check] !== 'ok');
  }

  /** Until one of these checks of the daemon fails. */
  untilFaulty(name: Name, check: string): Promise<unknown> {
    return pollUntil(
      () => this.faultsOf(name),
      (faults) => faults.includes(check),
      LIMIT_MS,
    );
  }

  get controller(): Endpoint {
    return endpointOf(String(this.daemons.controller.lines.find(({ msg }) => msg === 'listening')?.['address']));
  }

  /** One that has not joined and gives up sooner than a node-agent. */
  async bareNode(): Promise<PeerNode> {
    const socket = await RawSocket.open();
    this.#context.onTestFinished(() => socket.close());
    const { idI, ik } = this.#spare;
    return new PeerNode(socket, { id: idI, key: Buffer.from(ik.expose()), controllers: [ID_C] });
  }

  /** The node that runs gets a key after this was called. */
  async joinsAgain(): Promise<void> {
    const agent = this.daemons['node-agent'];
    const before = agent.lines.length;
    await agent.waitFor((line) => line.msg === 'joined' && agent.lines.indexOf(line) >= before, LIMIT_MS);
  }

  /** Another node joins, in a process that lacks nothing. */
  async othersJoin(times = 1): Promise<void> {
    for (let i = 0; i < times; i++)
      await this.network.run('node-agent', ['join', '--state', this.others[i % this.others.length]!]);
  }

  /** Those that have ended, which none should. */
  get ended(): readonly Name[] {
    return [...this.#ended];
  }
}

function expectAlive({ ended }: Trio): void {
  expect(ended).toEqual([]);
}

/** All run, serve, work, tell of themselves, and end as they should. */
async function expectWhole(trio: Trio): Promise<void> {
  await trio.othersJoin();
  await trio.joinsAgain();
  for (const name of NAMES) {
    await pollUntil(
      () => trio.ask(name, '/readyz'),
      ({ status }) => status === 200,
      LIMIT_MS,
    );
    expect((await trio.ask(name, '/metrics')).text).toContain('latchkey_build_info{');
  }
  expectAlive(trio);
  await expectEnds(trio);
}

async function expectEnds({ daemons }: Trio): Promise<void> {
  for (const name of NAMES.toReversed()) expect([name, await daemons[name].stop()]).toEqual([name, 0]);
}

/**
 * No descriptor is free any more for the process: those it has stay, and one that it closes it may
 * open again.
 */
function starve({ pid }: DaemonProcess): void {
  const open = new Set(readdirSync(`/proc/${pid}/fd`).map(Number));
  let free = 0;
  while (open.has(free)) free += 1;
  limit(pid, `--nofile=${free}:`);
}

function limit(pid: number, what: string): void {
  const { status, stderr } = spawnSync('prlimit', ['--pid', String(pid), what], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
}

describe.skipIf(!HAS_PRLIMIT)('without a file descriptor left (needs prlimit)', () => {
  it.concurrent('daemons go on with those they have; systemd hears that they live; a reload and a renewal wait', async (context) => {
    const receiver = CAN_RECEIVE
      ? await NotifyReceiver.open(`@latchkey-surroundings-${process.pid}`, context.onTestFinished)
      : undefined;
    const told = receiver && { NOTIFY_SOCKET: receiver.name, WATCHDOG_USEC: '500000' };
    const trio = await Trio.start(context, told && { environment: { controller: told } });
    const { daemons } = trio;
    for (const name of NAMES) starve(daemons[name]);

    daemons.controller.signal('SIGHUP');
    await daemons.controller.waitFor(
      ({ msg }) => msg.startsWith('not reloaded: ') && msg.includes('too many files and sockets open'),
    );
    // Each takes two sockets, and the controller has those of one join.
    await trio.othersJoin(3);
    await daemons['node-agent'].waitFor(
      ({ msg, failures }) => failures === 2 && msg.includes('too many files and sockets open'),
      LIMIT_MS,
    );
    // A connection more than there are descriptors for, again and again.
    for (let i = 0; i < 40; i++) for (const name of NAMES) await trio.ask(name, '/metrics').catch(() => undefined);
    if (receiver !== undefined) {
      const isAlive = (message: string): boolean => message.split('\n').includes('WATCHDOG=1');
      for (let i = 0; i < 3; i++) await receiver.next(isAlive, receiver.messages.length);
    }
    expectAlive(trio);

    for (const name of NAMES) limit(daemons[name].pid, '--nofile=1024:');
    await trio.joinsAgain();
    daemons.controller.signal('SIGHUP');
    await daemons.controller.waitFor(({ msg }) => msg.startsWith('credential read anew'));
    await expectWhole(trio);
  });
});

describe.skipIf(!HAS_PRLIMIT)('with a limit to the size of files (needs prlimit)', () => {
  it.concurrent('a write that would exceed it fails, and no more', async (context) => {
    const trio = await Trio.start(context);
    const { daemons } = trio;
    for (const name of NAMES) limit(daemons[name].pid, '--fsize=1:');
    await daemons['node-agent'].waitFor(({ msg }) => msg.includes('larger than this process may make one'), LIMIT_MS);
    await trio.untilFaulty('auth-server', 'registry');
    expectAlive(trio);
    for (const name of NAMES) limit(daemons[name].pid, '--fsize=unlimited:');
    await expectWhole(trio);
  });
});

/** Becomes the command that follows, with an empty /proc. */
const WITHOUT_PROC = ['unshare', '--mount', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$0" "$@"'];

function canMount(): boolean {
  return IS_ROOT && spawnSync(WITHOUT_PROC[0]!, [...WITHOUT_PROC.slice(1), 'true']).status === 0;
}

describe.skipIf(!canMount())('without /proc (needs root and unshare)', () => {
  it.concurrent('daemons start, serve, tell of themselves, and end', async (context) => {
    const trio = await Trio.start(context, { within: WITHOUT_PROC });
    // Longer than between two looks at memory.
    for (let i = 0; i < 2; i++) await trio.joinsAgain();
    await expectWhole(trio);
  });
});

function shell(line: string): void {
  const { status, stderr } = spawnSync('sh', ['-c', line], { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${line}: ${stderr}`);
}

/** What may become of a state folder, and back. */
const MISHAPS = [
  {
    what: 'moved away',
    async befall(_: Context, folder: string): Promise<void> {
      await rename(folder, `${folder}.away`);
    },
    async mend(folder: string): Promise<void> {
      await rm(folder, { recursive: true, force: true });
      await rename(`${folder}.away`, folder);
    },
  },
  {
    what: 'covered by an empty one that is read-only',
    async befall({ onTestFinished }: Context, folder: string): Promise<void> {
      shell(`mount -t tmpfs -o ro none ${folder}`);
      onTestFinished(() => void spawnSync('umount', ['-l', folder]));
    },
    async mend(folder: string): Promise<void> {
      shell(`umount ${folder}`);
    },
  },
] as const;

/** The check of each that is not well then. */
const STORE_CHECK: Readonly<Record<Name, string>> = { 'auth-server': 'registry', controller: 'store', 'node-agent': 'store' };

describe.skipIf(!canMount())('with a state folder that is not what it was (needs root and unshare)', () => {
  it.concurrent.for(NAMES)('the %s runs on, is not ready, and works when it has its folder back', async (name, context) => {
    const trio = await Trio.start(context);
    const folder = trio.folders[name];
    for (const mishap of MISHAPS) {
      await mishap.befall(context, folder);
      // At a node the last look at its disk is believed for a minute.
      await trio.untilFaulty(name, STORE_CHECK[name]);
      // A controller's joins go on without its folder, and each node's without another node's.
      if (name !== 'auth-server') await trio.othersJoin();
      expectAlive(trio);
      await mishap.mend(folder);
      await trio.othersJoin();
      if (name === 'node-agent') await trio.joinsAgain();
    }
    await expectWhole(trio);
  });

  it.concurrent('the auth-server commits nothing that its next start would not find', async (context) => {
    const trio = await Trio.start(context);
    const folder = trio.folders['auth-server'];
    await rm(folder, { recursive: true });
    await mkdir(folder, { mode: 0o700 });
    await trio.untilFaulty('auth-server', 'registry');
    const node = await trio.bareNode();
    await node.sendM1(trio.controller);
    expect((await node.sendM5(trio.controller))?.code).toBe('5.03');
    expectAlive(trio);
    expect(await trio.daemons['auth-server'].stop()).toBe(0);
  });

  it.concurrent('controller and node run on where theirs are full, and work when there is room', async (context) => {
    const full = ['controller', 'node-agent'] as const;
    const trio = await Trio.start(context, {}, (folders) => {
      for (const name of full) {
        const folder = folders[name];
        shell(`mv ${folder} ${folder}.before && mkdir -m 700 ${folder}`);
        shell(`mount -t tmpfs -o size=1500k,mode=700 none ${folder}`);
        context.onTestFinished(() => void spawnSync('umount', ['-l', folder]));
        shell(`cp -a ${folder}.before/. ${folder}/`);
      }
    });
    for (const name of full) spawnSync('dd', ['if=/dev/zero', `of=${trio.folders[name]}/fill`, 'bs=4k']);
    await trio.untilFaulty('node-agent', 'store');
    // Not so the controller: its store may go on for long in its own free pages.
    await trio.othersJoin();
    expectAlive(trio);
    for (const name of full) await rm(`${trio.folders[name]}/fill`);
    await expectWhole(trio);
  });
});

/** A network namespace, with what its kernel settings are to be; it goes with the test. */
async function newNamespace({ onTestFinished }: Context, ...settings: readonly string[]): Promise<readonly string[]> {
  const holder = spawn('unshare', ['--net', 'sh', '-c', 'echo up && exec sleep infinity'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  onTestFinished(() => void holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  const inside = ['nsenter', '--target', String(holder.pid), '--net'];
  shell(`${inside.join(' ')} ip link set lo up`);
  for (const setting of settings) {
    const [name = '', value = ''] = setting.split('=');
    shell(`${inside.join(' ')} sh -c 'echo "${value}" > /proc/sys/${name.replaceAll('.', '/')}'`);
  }
  return inside;
}

function canMakeNamespaces(): boolean {
  return IS_ROOT && spawnSync('unshare', ['--net', 'sh', '-c', 'ip link set lo up']).status === 0;
}

const HAS_IPV6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === '::1'));
const ALL_ADDRESSES = { server: '[::]:5693', controller: '[::]:5683' };

describe.skipIf(!canMakeNamespaces())('with a kernel (needs root, unshare, nsenter and ip)', () => {
  it.skipIf(!HAS_IPV6)(
    'whose sockets of IPv6 take no IPv4, daemons that listen on [::] take both',
    { concurrent: true },
    async (context) => {
      const within = await newNamespace(context, 'net.ipv6.bindv6only=1');
      const trio = await Trio.start(context, { within, listen: ALL_ADDRESSES, nid: '127.0.0.1:5683' });
      for (const address of ['[::1]:5683', '[::ffff:127.0.0.1]:5683']) {
        const [state = ''] = trio.others;
        await trio.network.run('node-agent', ['move', '--state', state, '--controller', address, '--controller-id', CONTROLLER]);
        const joins = trio.network.start('node-agent', ['join', '--state', state], {}, within);
        expect([address, await joins.ended()]).toEqual([address, 0]);
      }
      await expectEnds(trio);
    },
  );

  it.skipIf(!HAS_IPV6)(
    'without addresses of IPv6, daemons that listen on [::] take IPv4',
    { concurrent: true },
    async (context) => {
      const within = await newNamespace(context, 'net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.lo.disable_ipv6=1');
      const trio = await Trio.start(context, { within, listen: ALL_ADDRESSES, nid: '127.0.0.1:5683' });
      await trio.joinsAgain();
      await expectEnds(trio);
    },
  );

  it.skipIf(!HAS_IPV6)(
    'that lets an interface be called wg_home, daemons talk over the link that it is on',
    { concurrent: true },
    async (context) => {
      const within = await newNamespace(context);
      const inside = within.join(' ');
      if (spawnSync('sh', ['-c', `${inside} ip link add wg_home type veth peer name far`]).status !== 0)
        context.skip('this kernel has no veth');
      shell(`${inside} ip link set far up && ${inside} ip link set wg_home up`);
      shell(`${inside} ip -6 address add fe80::7/64 dev wg_home nodad`);
      const listen = { server: '127.0.0.1:5693', controller: '[fe80::7%wg_home]:5683' };
      const trio = await Trio.start(context, { within, listen });
      // In whatever state: on a busy machine its key may have expired since.
      const show = ['node', 'list', '--data', trio.network.registry];
      expect(await trio.network.run('auth-server', show)).toContain('[fe80::7]:');
      const { network, others } = trio;
      const [state = ''] = others;
      const nowhere = ['--controller', '[fe80::7%wg_work]:5683', '--controller-id', CONTROLLER];
      await network.run('node-agent', ['move', '--state', state, ...nowhere]);
      expect(await network.try('node-agent', ['join', '--state', state])).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('[fe80::7%wg_work]:5683: this machine has no interface wg_work') as string,
      });
      await expectEnds(trio);
    },
  );

  it.concurrent('that has seven ports to give, the controller goes on with the sockets that it has', async (context) => {
    const within = await newNamespace(context, 'net.ipv4.ip_local_port_range=40000 40006');
    const listen = { server: '127.0.0.1:5693', controller: '127.0.0.1:5683' };
    // The node needs one of them for each join. The controller opens a socket for each request, two
    // in a join, and asks for a seventh one in the third join, while the node has its port. The key
    // feed must not ask for that one between two joins: it does so at the start only.
    const trio = await Trio.start(context, { within, listen, config: 'key_feed: 1h\n' });
    for (let i = 0; i < 5; i++) await trio.joinsAgain();
    // A join whose request was not sent succeeds all the same, once the node has repeated it.
    expect(trio.daemons.controller.lines.filter(({ msg }) => msg === 'the auth-server cannot be reached')).toEqual([]);
    await expectEnds(trio);
  });
});
