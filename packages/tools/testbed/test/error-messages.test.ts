// What a user meets: each failure is one line that says what happened and what to do, with the exit
// code that a script expects.

import { chmod, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createSocket } from 'node:dgram';
import { type AddressInfo, createServer } from 'node:net';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exists } from '@latchkey/runtime/files';
import { readCredential } from '@latchkey/provisioning';
import type { CommandResult } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { CONTROLLER, endpointOf, orderAndInstall, showNode } from './fixtures.js';
import * as peer from './reference-peer.js';

let network: TestNetwork;
beforeAll(async () => {
  network = await TestNetwork.create();
});
afterAll(() => network.remove());

/** A failure a person can act on: the code, what happened, what to do, and no stack trace. */
function expectFailure(finished: CommandResult, code: 1 | 2, ...words: readonly string[]): void {
  const said = finished.stdout + finished.stderr;
  expect(finished.code, said).toBe(code);
  for (const word of words) expect(said).toContain(word);
  expect(said).not.toMatch(/\n\s+at .*[:(]\d+/);
  expect(said).not.toContain('internal error');
}

let controllers = 0x100;

/** A controller of its own, and one node that was ordered for it and installed. */
async function newController(servers: readonly string[]): Promise<{ id: string; address: string; node: string; state: string }> {
  controllers += 1;
  const id = controllers.toString(16).padStart(8, '0');
  const address = await freePort();
  await network.addController(id, address, servers);
  const { id: node, state } = await orderAndInstall(network, { controller: id });
  return { id, address, node, state };
}

const join = (state: string): Promise<CommandResult> => network.try('node-agent', ['join', '--state', state]);

describe('the network is not whole', () => {
  it('controller down', async () => {
    const { state, address } = await newController([await freePort()]);
    expectFailure(await join(state), 1, `cannot reach its controller at ${address}`, 'Is the controller running');
  });

  it('nobody answers at the address, or somebody from another, of which the node hears nothing', async () => {
    const joinAt = async (controller: string): Promise<CommandResult> => {
      const state = network.node(controller);
      const args = ['install', '--state', state, '--id', '00000077', '--controller', controller, '--ik-file', '-'];
      await network.run('node-agent', args, '00112233445566778899aabbccddeeff');
      return join(state);
    };
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    // From a socket for all addresses an answer on loopback comes from 127.0.0.1, whichever was
    // asked.
    const other = createSocket('udp4').bind(0, '0.0.0.0');
    await Promise.all([once(silent, 'listening'), once(other, 'listening')]);
    let answers = 0;
    other.on('message', (_, { port, address }) => other.send('an answer', port, address, () => (answers += 1)));
    const asked = [`127.0.0.1:${silent.address().port}`, `127.0.0.2:${other.address().port}`];
    for (const finished of await Promise.all(asked.map(joinAt))) {
      expectFailure(finished, 1, 'gets no answer from its controller', 'does the network let UDP through');
      expectFailure(finished, 1, 'may answer from another than was asked');
    }
    expect(answers).toBeGreaterThan(0);
    silent.close();
    other.close();
  });

  it('auth-server down', async () => {
    const { id, address, state } = await newController([await freePort()]);
    const controller = await network.startController(id, address);
    expectFailure(await join(state), 1, '5.04', 'gets no answer from its auth-server');
    await controller.waitFor(({ msg, level }) => msg === 'the auth-server cannot be reached' && level === 'warn');
    await controller.stop();
  });

  it('the state folder of another controller', async () => {
    const [one, two] = [await newController([await freePort()]), await newController([await freePort()])];
    await (await network.startController(one.id, one.address)).stop();
    const args = ['run', '--credential', network.credential(two.id), '--state', network.path(`controller-${one.id}`)];
    const finished = await network.try('controller', [...args, '--listen', two.address]);
    expectFailure(finished, 2, `is of controller ${one.id}, and the credential is of controller ${two.id}`, '--state');
  });

  it('port taken', async () => {
    const taken = createSocket('udp4').bind(0, '127.0.0.1');
    await once(taken, 'listening');
    const listen = `127.0.0.1:${taken.address().port}`;
    const finished = await network.try('auth-server', ['run', '--data', network.registry, '--listen', listen]);
    expectFailure(finished, 1, `cannot listen on ${listen}: another process listens there`, '--listen');
    taken.close();
  });

  it('a place for health and metrics that is taken, or has no folder', async () => {
    const taken = createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const { port } = taken.address() as AddressInfo;
    const run = (http: string): Promise<CommandResult> =>
      network.try('auth-server', ['run', '--data', network.registry, '--listen', '127.0.0.1:0', '--http', http]);
    const finished = await run(`127.0.0.1:${port}`);
    expectFailure(finished, 1, `health and metrics on 127.0.0.1:${port}: another process listens there`, '--http');
    expect(finished.stderr).not.toContain('--listen');
    const folder = network.path('nowhere');
    expectFailure(await run(`unix:${folder}/s`), 2, `cannot listen on ${folder}/s: the folder ${folder} is not there`);
    taken.close();
  });

  it('an address this machine does not have, and a name nobody has', async () => {
    const run = (listen: string): Promise<CommandResult> =>
      network.try('auth-server', ['run', '--data', network.registry, '--listen', listen]);
    expectFailure(await run('192.0.2.1:5693'), 1, 'cannot listen on 192.0.2.1:5693', 'does not have that address');
    expectFailure(await run('no-such-host.invalid:5693'), 1, 'cannot find no-such-host.invalid:5693');
  });
});

describe('the registry says no', () => {
  it('unknown node, node of another controller, wrong initial key, wrong credential', async () => {
    const serverAddress = await freePort();
    const server = await network.startAuthServer(serverAddress);
    const { id, address, node, state } = await newController([serverAddress]);
    const controller = await network.startController(id, address);
    const install = (name: string, nodeId: string, ik: string): Promise<string> =>
      network.run(
        'node-agent',
        ['install', '--state', network.node(name), '--id', nodeId, '--controller', address, '--ik-file', '-'],
        ik,
      );

    await install('unknown', '0badcafe', '00112233445566778899aabbccddeeff');
    expectFailure(await join(network.node('unknown')), 1, '4.03', 'node why 0badcafe');
    await controller.waitFor(({ msg }) => msg === 'refused: it names a node the registry does not have');

    const other = await newController([serverAddress]);
    await install('foreign', other.node, '00112233445566778899aabbccddeeff');
    expectFailure(await join(network.node('foreign')), 1, '4.03');
    await controller.waitFor(({ msg }) => msg === 'refused: it names a node that is assigned to another controller');

    await install('wrong-ik', node, '00112233445566778899aabbccddeeff');
    expectFailure(
      await join(network.node('wrong-ik')),
      1,
      'none opens under its initial key',
      'another key than the registry has',
    );

    const credential = JSON.parse(await readFile(network.credential(other.id), 'utf8')) as object;
    const wrong = await network.file('wrong.json', JSON.stringify({ ...credential, sk_cs: 'ffeeddccbbaa99887766554433221100' }));
    const misled = network.start('controller', [
      'run',
      '--credential',
      wrong,
      '--state',
      network.path('misled'),
      '--listen',
      other.address,
    ]);
    await misled.listening();
    expectFailure(await join(other.state), 1, '5.04', 'have this controller’s credential');
    await server.waitFor(({ msg }) => msg === 'M2 does not open: the credential of its controller differs from ours');
    await misled.waitFor(({ msg }) => msg.includes('its SK_cs differs from the credential here'));

    await network.run('node-agent', ['join', '--state', state]);
    expect(await showNode(network, node)).toMatchObject({ state: 'joined' });
    await Promise.all([server.stop(), controller.stop(), misled.stop()]);
  });

  it('the clock of controller and auth-server ten minutes apart', async () => {
    const { id, address, node, state } = await newController([await freePort()]);
    const { servers, skCs } = await readCredential(network.credential(id));
    const [nodeId, controllerId] = [Number.parseInt(node, 16), Number.parseInt(id, 16)];
    const server = new peer.PeerServer(
      new Map([[nodeId, { key: Buffer.alloc(16), controllerId, lifetime: 0 }]]),
      new Map([[controllerId, Buffer.from(skCs.expose())]]),
    );
    server.clock = () => Date.now() + 600_000;
    const served = await server.serve(servers[0]!.port);
    const controller = await network.startController(id, address);
    expectFailure(await join(state), 1, '5.03', 'the clocks of controller and auth-server differ');
    await controller.waitFor(
      ({ msg, level }) => level === 'warn' && msg.includes("the controller's clock and the auth-server's differ"),
    );
    await controller.stop();
    await served.close();
  });
});

describe('folders and files', () => {
  const run = (...args: readonly string[]): Promise<CommandResult> => network.try('auth-server', ['run', ...args]);

  it('no registry there', async () => {
    expectFailure(await run('--data', network.path('nothing')), 2, 'holds no registry', 'Check the path');
  });

  it('a registry is never made anew over one that is there', async () => {
    expectFailure(
      await network.try('auth-server', ['init', '--data', network.registry]),
      2,
      'holds a registry already',
      'Nothing was changed',
    );
  });

  it('a second process on one folder is told who holds it', async () => {
    const first = await network.startAuthServer(await freePort());
    expectFailure(
      await run('--data', network.registry, '--listen', '127.0.0.1:0'),
      1,
      `in use by latchkey-auth-server run (process ${first.pid}`,
    );
    await first.stop();
    const again = await network.startAuthServer(await freePort());
    await again.stop();
  });

  it('a read-only folder', async () => {
    const ro = network.path('ro');
    await mkdir(ro);
    const mounted = process.getuid?.() === 0 && spawnSync('mount', ['-t', 'tmpfs', '-o', 'ro', 'tmpfs', ro]).status === 0;
    // Not root: the mode says no. Root where nothing can be mounted: a folder that takes no files
    // from anyone.
    if (!mounted) await chmod(ro, 0o500);
    const folder = mounted || process.getuid?.() !== 0 ? ro : '/proc';
    try {
      expectFailure(
        await network.try('auth-server', ['init', '--data', `${folder}/data`]),
        1,
        `cannot use the folder ${folder}/data`,
      );
      const { id } = await newController([await freePort()]);
      const args = ['run', '--credential', network.credential(id), '--state', `${folder}/state`, '--listen', '127.0.0.1:0'];
      expectFailure(await network.try('controller', args), 1, `cannot use the folder ${folder}/state`);
    } finally {
      if (mounted) spawnSync('umount', [ro]);
    }
  });

  it.skipIf(process.getuid?.() !== 0)('a store that became read-only under a registry', async ({ skip }) => {
    const mount = network.path('mounted');
    await mkdir(mount);
    if (spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', mount]).status !== 0) skip('nothing can be mounted');
    try {
      await network.run('auth-server', ['init', '--data', `${mount}/data`]);
      expect(spawnSync('mount', ['-o', 'remount,ro', mount]).status).toBe(0);
      expectFailure(await run('--data', `${mount}/data`), 1, 'the file system is read-only', 'Mount it read-write');
    } finally {
      spawnSync('umount', [mount]);
    }
  });

  it.skipIf(process.getuid?.() !== 0)(
    'a full disk: the server goes on, says so, and takes the same M5 when there is room (needs root)',
    async ({ skip }) => {
      const mount = network.path('full');
      await mkdir(mount);
      if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1200k', 'tmpfs', mount]).status !== 0) skip('nothing can be mounted');
      const socket = await peer.RawSocket.open();
      try {
        const [server, address] = [await freePort(), await freePort()];
        const data = `${mount}/data`;
        await network.run('auth-server', ['init', '--data', data]);
        const credential = network.path('full.json');
        const add = ['controller', 'add', CONTROLLER, '--data', data, '--nid', address, '--server', server, '--out', credential];
        await network.run('auth-server', add);
        const order = ['order', 'create', '--data', data, '--installer', 'Ada', '--controller', CONTROLLER, '--count', '300'];
        await network.run('auth-server', [...order, '--out', network.path('full-order')]);
        const daemon = network.start('auth-server', ['run', '--data', data, '--listen', server]);
        await daemon.listening();
        const state = network.path('full-controller');
        await network.start('controller', ['run', '--credential', credential, '--state', state, '--listen', address]).listening();

        const [, ...lines] = (await readFile(network.path('full-order', 'manifest.csv'), 'utf8')).trim().split('\n');
        const nodes: { readonly id: string; readonly node: peer.PeerNode }[] = [];
        for (const line of lines) {
          const [id = '', , , ik = ''] = line.split(',');
          const node = new peer.PeerNode(socket, { id: Number.parseInt(id, 16), key: Buffer.from(ik, 'hex'), controllers: [1] });
          node.start();
          await node.sendM1(endpointOf(address));
          nodes.push({ id, node });
        }
        expect(spawnSync('dd', ['if=/dev/zero', `of=${mount}/fill`, 'bs=64k']).status).not.toBe(0);
        // Joins go on until the free pages of the store itself are used up.
        let last = nodes[0]!;
        let refused: peer.Response | undefined;
        for (last of nodes) {
          refused = await last.node.sendM5(endpointOf(address));
          if (refused?.code !== '2.04') break;
        }
        expect(refused?.code).toBe('5.03');
        expect(peer.option(refused!, 14)).toEqual(Buffer.of(30));
        await daemon.waitFor(({ msg }) => msg.endsWith('no space left on the device'));
        const ordered = await network.try('auth-server', [...order, '--out', network.path('full-order-2')]);
        // LMDB calls a write that was cut short EIO: it should be told as what it is here, no space
        // left (store/src/open.ts, writeFailure).
        expectFailure(ordered, 1, 'cannot write to the store');
        // LMDB prints to standard error, too, that a write failed.
        expect([daemon.unparsedOutput, ordered.stderr]).toEqual(['', expect.stringMatching(/^latchkey-auth-server: /)]);
        await rm(`${mount}/fill`);
        expect((await last.node.sendM5(endpointOf(address)))?.code).toBe('2.04');
        await daemon.waitFor(({ msg, node: name }) => msg === 'node has a new key' && name === last.id);
      } finally {
        await socket.close();
        spawnSync('umount', ['-l', mount]);
      }
    },
  );

  it('a credential that others can read', async () => {
    const { id } = await newController([await freePort()]);
    await chmod(network.credential(id), 0o644);
    const args = ['run', '--credential', network.credential(id), '--state', network.path('loose'), '--listen', '127.0.0.1:0'];
    expectFailure(await network.try('controller', args), 2, 'has mode 0644', 'chmod 600');
  });

  it('a node that is installed already keeps its key', async () => {
    const { state } = await newController([await freePort()]);
    const before = await readFile(`${state}/node.json`, 'utf8');
    const install = ['install', '--state', state, '--id', '00000001', '--controller', '127.0.0.1:5683', '--ik-file', '-'];
    const ik = '00112233445566778899aabbccddeeff';
    expectFailure(await network.try('node-agent', install, ik), 2, 'holds an installed node already', '--replace');
    expect(await readFile(`${state}/node.json`, 'utf8')).toBe(before);
    await network.run('node-agent', [...install, '--replace'], ik);
  });

  it('no application key comes from an initial key', async () => {
    const { state } = await newController([await freePort()]);
    expectFailure(await network.try('node-agent', ['key', '--state', state, '--label', 'x']), 1, 'only its initial key', 'join');
  });
});

describe('configuration and usage', () => {
  it.each([
    [
      'an unknown key',
      'listn: ["127.0.0.1:0"]\n',
      ['config.yaml, line 1: unknown key listn: expected one of listen, log_level, memory, http'],
    ],
    ['a wrong value', 'log_level: info\nlisten: ["127.0.0.1"]\n', ['config.yaml, line 2', 'listen.0', 'expected HOST:PORT']],
    ['a value of a list', 'log_level: loud\n', ['config.yaml, line 1: log_level: expected one of error, warn, info, debug']],
    ['an empty list', 'listen: []\n', ['config.yaml, line 1: listen: expected a list of 1 or more']],
    ['not YAML', 'listen: [\n', ['config.yaml, line', 'not YAML']],
  ])('names file, line and expectation: %s', async (_, yaml, words) => {
    const config = await network.file('config.yaml', yaml);
    expectFailure(await network.try('auth-server', ['run', '--data', network.registry, '--config', config]), 2, ...words);
  });

  it('refuses what does not go together in a controller', async () => {
    const { id } = await newController([]);
    const config = await network.file('controller.yaml', 'mode: combined\n');
    const args = ['run', '--credential', network.credential(id), '--state', network.path('s'), '--listen', '127.0.0.1:0'];
    expectFailure(
      await network.try('controller', [...args, '--config', config]),
      2,
      'registry: expected the folder of the registry',
    );
    expectFailure(await network.try('controller', args), 2, 'no auth-server is named');
  });

  it.each([
    ['auth-server', ['controller', 'add', '1']],
    ['auth-server', ['order', 'create', '--count', '0']],
    ['auth-server', ['nonsense']],
    ['controller', ['run']],
    ['node-agent', ['install', '--state', '/tmp/x']],
    ['node-agent', ['join', '--state', '/nowhere/at/all']],
  ] as const)('exits with 2 on wrong usage: latchkey-%s %s', async (name, args) => {
    expectFailure(await network.try(name, args), 2);
  });

  it('takes no label as an argument, and repeats no key of one', async () => {
    const key = '00112233445566778899aabbccddeeff';
    const label = `latchkey:1/0000a1b2/00000001/${key}/127.0.0.1:5683`;
    const install = ['install', '--state', network.path('never'), '--label'];
    const asArgument = await network.try('node-agent', [...install, label]);
    expectFailure(asArgument, 2, 'not the label itself', 'others could read it', '--label - and scan the label');
    const broken = await network.try('node-agent', [...install, '-'], label.replace('0000a1b2', 'a1b2'));
    expectFailure(broken, 2, 'standard input: id: expected 8 hex digits');
    for (const { stdout, stderr } of [asArgument, broken]) expect(stdout + stderr).not.toContain(key.slice(0, 12));
    expect(await exists(network.path('never'))).toBe(false);
  });

  it('names every bad line of a manifest, and no key', async () => {
    const key = '00112233445566778899aabbccddeeff';
    const lines = [
      'id,controller_id,controller,ik',
      `0000000z,${CONTROLLER},127.0.0.1:5683,${key}`,
      `00000002,${CONTROLLER},nowhere,${key}00`,
    ];
    const manifest = await network.file('bad.csv', `${lines.join('\n')}\n`);
    const finished = await network.try('auth-server', ['import', manifest, '--data', network.registry]);
    expectFailure(finished, 2, 'bad.csv are refused; nothing was changed', '--skip-bad');
    // Of each line the first thing that is wrong.
    expect(finished.stdout).toMatch(
      /^2 +- +id: expected 8 hex digits, not "0000000z"\n3 +00000002 +controller: expected HOST:PORT, .*, not "nowhere"\n/m,
    );
    expect(finished.stderr).not.toContain(key);
  });

  it('prints help with examples for every command, and exits with 0', async () => {
    const commands = {
      'auth-server': [
        '',
        'init',
        'run',
        'controller',
        'controller add',
        'order',
        'order create',
        'import',
        'node',
        'node why',
        'backup',
        'audit',
        'audit verify',
        'clock',
        'clock show',
        'master-key',
      ],
      controller: ['', 'run', 'key', 'master-key', 'master-key rotate'],
      'node-agent': ['', 'install', 'join', 'run', 'status', 'key'],
    } as const;
    for (const name of Object.keys(commands) as (keyof typeof commands)[]) {
      for (const command of commands[name]) {
        const { code, stdout } = await network.try(name, [...command.split(' ').filter((word) => word !== ''), '--help']);
        expect(code).toBe(0);
        expect(stdout).toContain(`\nExamples:\n  $ latchkey-${name} ${command}`);
      }
    }
  });

  it('a broken state file is named, not overwritten', async () => {
    const { state } = await newController([await freePort()]);
    const path = `${state}/node.json`;
    await writeFile(path, '{"version": 1');
    expectFailure(await join(state), 2, `${path}: not JSON`);
    expect(await readFile(path, 'utf8')).toBe('{"version": 1');
  });
});
