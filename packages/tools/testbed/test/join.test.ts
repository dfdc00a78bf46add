// The main job with real processes: a node's initial key is replaced, renewed, survives restarts,
// and both ends use it.

import { readFile } from 'node:fs/promises';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { formatId } from '@latchkey/protocol';
import { createFile } from '@latchkey/runtime/files';
import { encryptManifest, formatLabelInCapitals } from '@latchkey/provisioning';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freePort, TestNetwork } from '../src/network.js';
import {
  applicationKeys,
  CONTROLLER,
  orderAndInstall,
  type RunningNetwork,
  showNode,
  showStatus,
  startNetwork,
} from './fixtures.js';

describe('a network with one controller', () => {
  let running: RunningNetwork;
  beforeAll(async () => {
    running = await startNetwork();
  });
  afterAll(() => running.network.remove());

  it('replaces the initial key by one that node, server and controller share', async () => {
    const { network } = running;
    const { id, state, order } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state]);

    const [node, status] = [await showNode(network, id), await showStatus(network, state)];
    expect(node).toMatchObject({ state: 'joined', key_is_initial: false, lifetime_seconds: 2_592_000, key: status['key'] });
    expect(status).toMatchObject({ status: 'joined', open_candidates: 0, controllers: [CONTROLLER] });
    expect(status['key']).not.toBe(order.lines[0]?.ik.fingerprint);
    const [ofNode, ofController] = await applicationKeys(network, id, state);
    expect(ofNode).toMatch(/^[0-9a-f]{32}\n$/);
    expect(ofNode).toBe(ofController);
    const print = (format: string): Promise<string> =>
      network.run('node-agent', ['key', '--state', state, '--label', 'test', '--format', format]);
    const key = ofNode.trim();
    expect(await print('base64')).toBe(`${Buffer.from(key, 'hex').toString('base64')}\n`);
    const json = JSON.parse(await print('json')) as Record<string, unknown>;
    expect(json).toMatchObject({ id, label: 'test', key, kid: expect.stringMatching(/^[0-9a-f]{8}$/) as unknown });
    expect(Date.parse(String(json['not_after']))).toBeGreaterThan(Date.now());
  });

  it('takes a node that was installed from its label, and one from an encrypted manifest', async () => {
    const { network } = running;
    const { lines, manifest } = await network.order({ controller: CONTROLLER, count: 2 });
    const [byLabel, byManifest] = lines.map(({ idI }) => formatId(idI));
    const [label, text] = [formatLabelInCapitals(lines[0]!), await readFile(manifest, 'utf8')];
    const said = await network.run('node-agent', ['install', '--state', network.node(byLabel!), '--label', '-'], `${label}\r\n`);
    expect(said).toContain(`Node ${byLabel} is installed`);
    expect(said).not.toContain(lines[0]!.ik.toHex());

    const passphrase = 'correct horse battery staple';
    await createFile(network.path('manifest.csv.age'), await encryptManifest(text, { passphrase }));
    const opening = ['--manifest', network.path('manifest.csv.age'), '--passphrase-file', '-'];
    const install = ['install', '--state', network.node(byManifest!), '--id', byManifest!];
    await network.run('node-agent', [...install, ...opening], `${passphrase}\n`);
    for (const id of [byLabel!, byManifest!]) {
      await network.run('node-agent', ['join', '--state', network.node(id)]);
      expect(await showNode(network, id)).toMatchObject({ state: 'joined' });
    }
  });

  it('gives nodes that share an initial key a key each', async () => {
    const { network } = running;
    const { order } = await orderAndInstall(network, { count: 2, sharedKey: true });
    const [first, second] = order.lines.map(({ idI }) => formatId(idI));
    expect(order.lines[0]?.ik.equals(order.lines[1]!.ik)).toBe(true);
    await network.install(second!, order.manifest);
    await Promise.all([first, second].map((id) => network.run('node-agent', ['join', '--state', network.node(id!)])));
    const keys = await Promise.all(
      [first, second].map((id) => network.run('node-agent', ['key', '--state', network.node(id!), '--label', 'test'])),
    );
    expect(new Set(keys).size).toBe(2);
  });

  it('renews again and again, each time with another key', async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network);
    const keys = new Set<unknown>();
    for (let i = 0; i < 6; i++) {
      await network.run('node-agent', ['join', '--state', state]);
      const [ofNode, ofController] = await applicationKeys(network, id, state);
      expect(ofNode).toBe(ofController);
      keys.add(ofNode);
    }
    expect(keys.size).toBe(6);
  });

  it('says on device and server alike when the initial key was traded in, and when the key of now was got', async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state]);
    const first = [await showStatus(network, state), await showNode(network, id)];
    for (const { joined_at, renewed_at } of first) expect([typeof joined_at, renewed_at]).toEqual(['string', null]);
    await network.run('node-agent', ['join', '--state', state]);
    const then = [await showStatus(network, state), await showNode(network, id)];
    for (const [i, { joined_at, renewed_at }] of then.entries()) {
      expect(joined_at).toBe(first[i]!['joined_at']);
      expect(Date.parse(String(renewed_at))).toBeGreaterThan(Date.parse(String(joined_at)));
    }
    const why = await network.run('auth-server', ['node', 'why', id, '--data', network.registry]);
    const { joined_at: joined, renewed_at: renewed } = then[1]!;
    expect(why).toContain(`joined at ${String(joined)}, and has the key of now since ${String(renewed)}`);
    expect(await network.run('node-agent', ['status', '--state', state])).toMatch(/^joined +\S+Z\nrenewed +\S+Z$/m);
  });

  it('renews by itself before the key expires, and runs on_key_change after each key', async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network, { lifetime: '4s' });
    const said = network.path(`said-${id}`);
    const config = await network.file('hook.yaml', `on_key_change: 'echo "$LATCHKEY_ID $LATCHKEY_STATE" >> ${said}'\n`);
    const agent = network.start('node-agent', ['run', '--state', state, '--config', config]);
    const first = await agent.waitFor(({ msg }) => msg === 'joined');
    const second = await agent.waitFor(({ msg, key }) => msg === 'joined' && key !== first['key']);
    expect(second['keyBefore']).toBe(first['key']);
    // The scheduled time, not the measured one: a busy machine renews late.
    const { membership } = JSON.parse(await readFile(join(state, 'node.json'), 'utf8')) as {
      membership: { renew_after: { ms: number } };
    };
    expect(membership.renew_after.ms).toBeLessThanOrEqual(0.88 * 4_000);
    await agent.waitFor(({ msg, keyBefore }) => msg === 'joined' && keyBefore === second['key']);
    const told = async (): Promise<string[]> => (await readFile(said, 'utf8')).trimEnd().split('\n');
    await expect.poll(async () => (await told()).length).toBeGreaterThanOrEqual(3);
    expect(await agent.stop()).toBe(0);
    expect(new Set(await told())).toEqual(new Set([`${id} ${state}`]));
  });

  it('gives no key that has expired unless told to, and no longer says that the node has joined', async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network, { lifetime: '1s' });
    await network.run('node-agent', ['join', '--state', state]);
    await expect.poll(async () => (await showStatus(network, state))['status']).toBe('expired');
    const commands = [
      ['node-agent', ['key', '--state', state, '--label', 'test']],
      ['controller', ['key', id, '--state', network.path(`controller-${CONTROLLER}`), '--label', 'test']],
    ] as const;
    for (const [name, args] of commands) {
      const refused = await network.try(name, args);
      expect([refused.code, refused.stdout]).toEqual([1, '']);
      expect(refused.stderr).toMatch(
        new RegExp(`^latchkey-${name}: the key of node ${id} (?:has expired|expired at .*Z)\n.*--allow-expired`),
      );
    }
    // The registry may have withdrawn it from the controller by now.
    const [[name, args]] = commands;
    expect(await network.run(name, [...args, '--allow-expired'])).toMatch(/^[0-9a-f]{32}\n$/);
  });

  it('runs an on_key_change that failed again with `join --if-due`, as a timer starts it', async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network);
    const said = network.path(`said-${id}`);
    const bad = await network.file('bad.yaml', 'on_key_change: exit 3\n');
    const good = await network.file('good.yaml', `on_key_change: 'echo "$LATCHKEY_ID" >> ${said}'\n`);
    const join = ['join', '--state', state, '--if-due', '--config'];
    const failed = await network.try('node-agent', [...join, bad]);
    expect(failed).toMatchObject({ code: 0, stderr: expect.stringContaining('on_key_change failed') as string });
    expect(await network.try('node-agent', [...join, bad])).toMatchObject({
      code: 0,
      stderr: expect.stringContaining('on_key_change failed') as string,
    });
    for (let i = 0; i < 2; i++) expect(await network.run('node-agent', [...join, good])).toContain('need not be renewed yet');
    expect(await readFile(said, 'utf8')).toBe(`${id}\n`);
  });

  it('joins through a controller that was killed and started again, and TIDs go on increasing', async () => {
    const { network, controllerAddress } = running;
    const { id, state } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state]);
    const before = await showNode(network, id);
    await running.controller.stop('SIGKILL');
    running = { ...running, controller: await network.startController(CONTROLLER, controllerAddress) };
    await network.run('node-agent', ['join', '--state', state]);
    const after = await showNode(network, id);
    expect(BigInt(`0x${String(after['tid'])}`)).toBeGreaterThan(BigInt(`0x${String(before['tid'])}`));
  });

  it('joins when the auth-server comes back in the middle of the exchange', async () => {
    const { network, serverAddress } = running;
    const { id, state } = await orderAndInstall(network);
    await running.authServer.stop('SIGKILL');
    const agent = network.start('node-agent', ['run', '--state', state, '--log-level', 'debug']);
    await running.controller.waitFor(({ msg, node, message }) => msg === 'sent' && message === 'M2' && node === id);
    running = { ...running, authServer: await network.startAuthServer(serverAddress) };
    await agent.waitFor(({ msg }) => msg === 'joined');
    await agent.stop();
    expect(await showNode(network, id)).toMatchObject({ state: 'joined' });
  });

  it('stops cleanly on SIGTERM and starts again on the same folders', async () => {
    const { network, controllerAddress, serverAddress } = running;
    expect(await running.controller.stop()).toBe(0);
    expect(await running.authServer.stop()).toBe(0);
    const authServer = await network.startAuthServer(serverAddress);
    const controller = await network.startController(CONTROLLER, controllerAddress);
    running = { ...running, authServer, controller };
    const { state } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state]);
  });

  it('stops cleanly while a node asks and the auth-server is silent', async () => {
    const { network, controllerAddress } = running;
    await running.controller.stop();
    const { id, state } = await orderAndInstall(network);
    running.authServer.signal('SIGSTOP');
    const controller = await network.startController(CONTROLLER, controllerAddress);
    const agent = network.start('node-agent', ['run', '--state', state]);
    await controller.waitFor(({ msg, node, message }) => msg === 'sent' && message === 'M2' && node === id);
    expect(await controller.stop()).toBe(0);
    expect(controller.lines.at(-1)?.msg).toBe('stopped');
    running.authServer.signal('SIGCONT');
    await agent.stop();
    running = { ...running, controller: await network.startController(CONTROLLER, controllerAddress) };
  });

  it('imports nodes that were ordered elsewhere, once, all or none', async () => {
    const { network, controllerAddress } = running;
    const ik = '000102030405060708090a0b0c0d0e0f';
    const jsonl = await network.file(
      'bought.jsonl',
      `{"id":"0000a1b2","controller_id":"${CONTROLLER}","controller":"${controllerAddress}","ik":"${ik}"}\n`,
    );
    const importing = ['import', jsonl, '--data', network.registry];
    expect(await network.run('auth-server', importing)).toMatch(/^1 added, 0 changed, 0 unchanged, 0 rejected, as order \d+\n$/);
    expect(await network.run('auth-server', importing)).toBe('0 added, 0 changed, 1 unchanged, 0 rejected\n');
    const install = [
      'install',
      '--state',
      network.node('bought'),
      '--id',
      '0000a1b2',
      '--controller',
      controllerAddress,
      '--ik-file',
      '-',
    ];
    await network.run('node-agent', install, `${ik}\n`);
    expect(await network.run('node-agent', ['join', '--state', network.node('bought')])).toMatch(/^Node 0000a1b2 joined/);
    expect(await showStatus(network, network.node('bought'))).toMatchObject({ controllers: [CONTROLLER] });
    expect(await network.run('auth-server', importing)).toBe('0 added, 0 changed, 1 unchanged, 0 rejected\n');
    const other = await network.file('other.jsonl', (await readFile(jsonl, 'utf8')).replace(ik, ik.replaceAll('0', 'f')));
    expect(await network.try('auth-server', ['import', other, '--data', network.registry])).toMatchObject({
      code: 2,
      stdout: expect.stringContaining('has joined, with another initial key') as string,
    });
  });
});

describe('combined mode', () => {
  it('serves nodes from a registry in the controller, with no auth-server', async () => {
    const network = await TestNetwork.create();
    try {
      const address = await freePort();
      await network.addController(CONTROLLER, address, []);
      const config = await network.file('combined.yaml', `mode: combined\nregistry: ${network.registry}\n`);
      const controller = await network.startController(CONTROLLER, address, '--config', config);
      // To be written down elsewhere, as the auth-server's own.
      const { head } = await controller.waitFor(({ msg }) => msg === 'audit log');
      expect(
        await network.run('auth-server', ['audit', 'verify', '--data', network.registry, '--against', String(head)]),
      ).toMatch(/^The log holds\./);
      const { id, state } = await orderAndInstall(network);
      await network.run('node-agent', ['join', '--state', state]);
      await network.run('node-agent', ['join', '--state', state]);
      expect(await showNode(network, id)).toMatchObject({ state: 'joined', key: (await showStatus(network, state))['key'] });
      const [ofNode, ofController] = await applicationKeys(network, id, state);
      expect(ofNode).toBe(ofController);
      const second = await network.try('auth-server', ['run', '--data', network.registry, '--listen', '127.0.0.1:0']);
      expect(second).toMatchObject({ code: 1 });
      expect(second.stderr).toContain('in use by latchkey-controller run in combined mode');
    } finally {
      await network.remove();
    }
  });
});

describe('one socket for all addresses', () => {
  const hasIPv6 = Object.values(networkInterfaces()).some((addresses) => addresses?.some(({ address }) => address === '::1'));
  it.skipIf(!hasIPv6)('serves nodes over IPv4 and IPv6, each seen at its own address (needs ::1)', async () => {
    const network = await TestNetwork.create();
    try {
      const port = (await freePort()).split(':')[1]!;
      const server = await freePort();
      await network.addController(CONTROLLER, `localhost:${port}`, [`localhost:${server.split(':')[1]!}`]);
      await network.startAuthServer(`[::]:${server.split(':')[1]!}`);
      await network.startController(CONTROLLER, `[::]:${port}`);
      const { lines } = await network.order({ controller: CONTROLLER, count: 2 });
      const ways = [
        { controller: `127.0.0.1:${port}`, seen: /^127\.0\.0\.1:\d+$/ },
        { controller: `[::1]:${port}`, seen: /^\[::1\]:\d+$/ },
      ];
      for (const [i, { controller, seen }] of ways.entries()) {
        const { idI, ik } = lines[i]!;
        const id = formatId(idI);
        const install = [
          'install',
          '--state',
          network.node(id),
          '--id',
          id,
          '--controller',
          controller,
          '--controller-id',
          CONTROLLER,
        ];
        await network.run('node-agent', [...install, '--ik-file', '-'], ik.toHex());
        await network.run('node-agent', ['join', '--state', network.node(id)]);
        expect((await showNode(network, id))['address']).toMatch(seen);
      }
    } finally {
      await network.remove();
    }
  });
});

describe('two auth-servers in a row', () => {
  it('turns to the second when the first does not answer', async () => {
    const network = await TestNetwork.create();
    try {
      const [dead, alive, address] = [await freePort(), await freePort(), await freePort()];
      await network.addController(CONTROLLER, address, [dead, alive]);
      await network.startAuthServer(alive);
      const controller = await network.startController(CONTROLLER, address);
      const { state } = await orderAndInstall(network);
      await network.run('node-agent', ['join', '--state', state]);
      const warning = await controller.waitFor(({ msg }) => msg === 'the auth-server cannot be reached');
      expect(warning['server']).toBe(dead);
    } finally {
      await network.remove();
    }
  });
});
