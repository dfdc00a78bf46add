// Disks that fail, clocks that jump, servers that go: the daemon says what happened, nobody is
// locked out, and all goes on afterwards.

import { spawnSync } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { rename, rm, writeFile } from 'node:fs/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { CAN_INJECT_FAULTS, FaultInjector } from '../src/fault-injector.js';
import type { DaemonProcess, CommandResult } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { findKeyMismatches, SoakEnvironment, type SoakNode } from '../src/soak/environment.js';
import { mountTmpfs } from '@latchkey/test-support/fixtures';
import { applicationKeys, CONTROLLER, showNode } from './fixtures.js';

const AN_INPUT_OUTPUT_ERROR = 'the device reports an input/output error';
/** What a controller says of the key of a node that has joined. */
const KEY_NOT_STORED = /(?:the node joined all the same|its key is asked for)$/;
const TIMEOUT_MS = 600_000;

vi.setConfig({ testTimeout: 2 * TIMEOUT_MS });

/** Opens a store, and prints what a commit and a read say of their failure. */
const COMMIT_AND_READ = `
  import { openStore } from ${JSON.stringify(new URL('../../../lmdb/dist/index.js', import.meta.url).href)};
  const store = await openStore(process.argv[1]);
  const messageOf = async (use) => use().then(() => 'done', ({ message }) => message);
  const commit = await messageOf(() => store.transaction(() => store.putSync(1, 'one')));
  const read = await messageOf(async () => store.get(1));
  console.log(JSON.stringify([commit, read]));
  process.exit(0);
`;

/** A network whose daemons are not up yet; it goes with the test. */
async function newEnvironment(
  count = 1,
): Promise<{ environment: SoakEnvironment; node: SoakNode; nodes: readonly SoakNode[]; faults: FaultInjector }> {
  const ground = await SoakEnvironment.create();
  const nodes = await ground.install({ count });
  const [node] = nodes;
  const faults = FaultInjector.create(ground.network, 'one');
  onTestFinished(async () => {
    faults.close();
    await ground.network.remove();
  });
  if (node === undefined) throw new Error('nothing was installed');
  return { environment: ground, node, nodes, faults };
}

/** Starts both daemons, in the environments that are given. */
async function startDaemons(
  environment: SoakEnvironment,
  { ofServer, ofController }: { readonly ofServer?: NodeJS.ProcessEnv; readonly ofController?: NodeJS.ProcessEnv } = {},
): Promise<{ readonly server: DaemonProcess; readonly controller: DaemonProcess }> {
  const [server, controller] = [environment.startAuthServer(ofServer), environment.startController(ofController)];
  await Promise.all([server.listening(), controller.listening()]);
  return { server, controller };
}

describe.skipIf(!CAN_INJECT_FAULTS)('a disk that fails (needs gcc)', () => {
  it('under the auth-server: no key is replaced, it says so, and the node joins when the disk is back', async () => {
    const { environment, node, faults } = await newEnvironment();
    const { server } = await startDaemons(environment, { ofServer: faults.environment });
    faults.setDisk('fails');
    const agent = environment.startNode(node);
    await server.waitFor(({ msg }) => msg.includes(AN_INPUT_OUTPUT_ERROR));
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
    faults.setDisk('works');
    await agent.waitFor(({ msg }) => msg === 'joined', TIMEOUT_MS);
    await agent.stop();
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
  });

  it('under the node: it keeps the key it has, says so, and joins when the disk is back', async () => {
    const { environment, node, faults } = await newEnvironment();
    await startDaemons(environment);
    faults.setDisk('fails');
    const agent = environment.startNode(node, faults.environment);
    await agent.waitFor(({ msg }) => msg.includes(AN_INPUT_OUTPUT_ERROR));
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
    faults.setDisk('works');
    await agent.waitFor(({ msg }) => msg === 'joined', TIMEOUT_MS);
    await agent.stop();
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
  });

  it('under the controller: nodes join all the same, it says so, and stores their keys when the disk is back', async () => {
    const { environment, node, faults } = await newEnvironment();
    const { controller } = await startDaemons(environment, { ofController: faults.environment });
    faults.setDisk('fails');
    await environment.network.run('node-agent', ['join', '--state', node.folder]);
    // A join that began before the registry was read leaves its key to the key feed.
    await controller.waitFor(({ msg, node: of }) => of === node.id && KEY_NOT_STORED.test(msg));
    await controller.waitFor(({ msg }) => msg.includes(AN_INPUT_OUTPUT_ERROR));
    await expectNoKey(environment, node);
    faults.setDisk('works');
    await expectKeyInTheEnd(environment, controller, node);
    // LMDB prints to standard error that a write failed.
    expect(controller.unparsedOutput).toBe('');
  });
});

describe.skipIf(!CAN_INJECT_FAULTS)('a disk that fails at the end of a commit (needs gcc)', () => {
  /** LMDB refuses reads too after that: a process that went on would serve nothing. */
  async function expectEndInWords(daemon: DaemonProcess, store: string): Promise<void> {
    const { advice } = await daemon.waitFor(
      ({ level, msg }) => level === 'fatal' && msg.includes(`${store}/data.mdb can be used no more`),
    );
    expect(advice).toContain('start this program again');
    expect([await daemon.ended(), daemon.unparsedOutput]).toEqual([1, '']);
  }

  it('makes that commit fail in these words, and no later use of the store waits', async () => {
    const { environment, faults } = await newEnvironment();
    faults.setDisk('fails at the end of a commit');
    const args = ['--input-type=module', '-e', COMMIT_AND_READ, environment.network.path('store')];
    const { stdout, stderr } = spawnSync(process.execPath, args, {
      env: { ...process.env, ...faults.environment },
      encoding: 'utf8',
      timeout: TIMEOUT_MS,
    });
    const words = expect.stringMatching(/^the store \S+data\.mdb can be used no more/) as string;
    expect([stderr, JSON.parse(stdout)]).toEqual(['', [words, words]]);
  });

  it('under the auth-server: it ends in words, no key is replaced, and the node joins once it is started again', async () => {
    const { environment, node, faults } = await newEnvironment();
    const { server } = await startDaemons(environment, { ofServer: faults.environment });
    faults.setDisk('fails at the end of a commit');
    const agent = environment.startNode(node);
    await expectEndInWords(server, 'registry');
    faults.setDisk('works');
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
    await environment.startAuthServer().listening();
    await agent.waitFor(({ msg }) => msg === 'joined', TIMEOUT_MS);
    await agent.stop();
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
  });

  it('under the controller: it ends in words, and has the keys once it is started again', async () => {
    const { environment, node, faults } = await newEnvironment();
    const { controller } = await startDaemons(environment, { ofController: faults.environment });
    faults.setDisk('fails at the end of a commit');
    const agent = environment.startNode(node);
    await expectEndInWords(controller, 'application-roots');
    faults.setDisk('works');
    const again = environment.startController();
    await agent.waitFor(({ msg }) => msg === 'joined', TIMEOUT_MS);
    await agent.stop();
    await expectKeyInTheEnd(environment, again, node);
  });
});

/** A node that has joined is not said to have not. */
async function expectNoKey({ network }: SoakEnvironment, { id }: SoakNode): Promise<void> {
  const args = ['key', id, '--state', network.path(`controller-${CONTROLLER}`), '--label', 'test'];
  const { code, stderr } = await network.try('controller', args);
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(
      `^latchkey-controller: this controller has no key of node ${id}\n.*\n  latchkey-auth-server node why ${id}`,
    ),
  ]);
  expect(await showNode(network, id)).toMatchObject({ state: 'joined' });
}

/** Lets nodes join until the controller cannot store the key of one, and returns that one. */
async function firstWithoutRoom(
  { network }: SoakEnvironment,
  controller: DaemonProcess,
  nodes: readonly SoakNode[],
): Promise<SoakNode> {
  const said = (of: SoakNode, end: string): boolean =>
    controller.lines.some(({ msg, node }) => node === of.id && msg.endsWith(end));
  for (const node of nodes) {
    const hasFailed = (): boolean => said(node, 'no space left on the device; the node joined all the same');
    // The key feed stores it then, and says in its own words that it cannot.
    const isLeftToFeed = (): boolean => said(node, 'its key is asked for');
    await network.run('node-agent', ['join', '--state', node.folder]);
    const args = ['key', node.id, '--state', network.path(`controller-${CONTROLLER}`), '--label', 'test'];
    const isStored = async (): Promise<boolean> => (await network.try('controller', args)).code === 0;
    await expect.poll(async () => hasFailed() || isLeftToFeed() || (await isStored()), { timeout: TIMEOUT_MS }).toBe(true);
    if (hasFailed()) return node;
  }
  throw new Error(`the keys of ${nodes.length} nodes are stored, and the disk is full`);
}

async function expectKeyInTheEnd(ground: SoakEnvironment, controller: DaemonProcess, node: SoakNode): Promise<void> {
  // A key that was left to the key feed comes with that, which says nothing of it.
  if (controller.lines.some(({ msg, node: of }) => of === node.id && msg.endsWith('the node joined all the same')))
    await controller.waitFor(({ msg }) => msg === 'keys that waited for the disk are stored', TIMEOUT_MS);
  const args = ['key', node.id, '--state', ground.network.path(`controller-${CONTROLLER}`), '--label', 'test'];
  await expect.poll(async () => (await ground.network.try('controller', args)).code, { timeout: TIMEOUT_MS }).toBe(0);
  const [ofNode, ofController] = await applicationKeys(ground.network, node.id, node.folder);
  expect(ofNode).toBe(ofController);
  expect(await findKeyMismatches(ground, [node])).toEqual([]);
}

describe.skipIf(process.getuid?.() !== 0)('a full disk (needs root)', () => {
  it('under the controller: nodes join all the same, and their keys are stored when there is room', async ({ skip }) => {
    const { environment, nodes } = await newEnvironment(50);
    const mount = environment.network.path(`controller-${CONTROLLER}`);
    if (!(await mountTmpfs(mount, '128k'))) skip('nothing can be mounted');
    const fill = (): void => expect(spawnSync('dd', ['if=/dev/zero', `of=${mount}/fill`, 'bs=4k']).status).not.toBe(0);

    // Without room for a store it does not start, and leaves nothing that keeps it from starting
    // later.
    await writeFile(`${mount}/master.key`, `${'5'.repeat(32)}\n`, { mode: 0o600 });
    fill();
    const refused = environment.startController();
    expect(await refused.ended()).toBe(1);
    expect(refused.unparsedOutput).toContain('no space left on the device\nFree some space');
    await rm(`${mount}/fill`);

    const { controller } = await startDaemons(environment);
    fill();
    // The store may have free pages, which take the keys of some.
    const node = await firstWithoutRoom(environment, controller, nodes);
    await expectNoKey(environment, node);
    await rm(`${mount}/fill`);
    await expectKeyInTheEnd(environment, controller, node);
    expect(controller.unparsedOutput).toBe('');
  });

  it('under the node: it keeps the key it has, says so, and joins when there is room', async ({ skip }) => {
    const { environment, node } = await newEnvironment();
    await startDaemons(environment);
    const mount = environment.network.path('small');
    if (!(await mountTmpfs(mount, '64k'))) skip('nothing can be mounted');
    const moved = { id: node.id, folder: `${mount}/node` };
    spawnSync('cp', ['-a', node.folder, moved.folder]);
    await rename(node.folder, `${node.folder}-before`);
    expect(spawnSync('dd', ['if=/dev/zero', `of=${mount}/fill`, 'bs=4k']).status).not.toBe(0);
    const agent = environment.startNode(moved);
    await agent.waitFor(({ msg }) => msg.includes('no space left on the device'));
    expect(await findKeyMismatches(environment, [moved])).toEqual([]);
    await rm(`${mount}/fill`);
    await agent.waitFor(({ msg }) => msg === 'joined', TIMEOUT_MS);
    await agent.stop();
    expect(await findKeyMismatches(environment, [moved])).toEqual([]);
  });
});

describe.skipIf(!CAN_INJECT_FAULTS)('a clock that jumps (needs gcc)', () => {
  it("the controller's, ten minutes forward: no key changes; back again: the node joins", async () => {
    const { environment, node, faults } = await newEnvironment();
    const { controller } = await startDaemons(environment, { ofController: faults.environment });
    faults.setClock(600_000);
    const agent = environment.startNode(node);
    await controller.waitFor(({ msg }) => msg.includes("the controller's clock and the auth-server's differ"));
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
    faults.setClock(0);
    await agent.waitFor(({ msg }) => msg === 'joined', TIMEOUT_MS);
    await agent.stop();
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
  });

  it("the auth-server's, twenty seconds forward: nodes join; back: nothing is committed for five minutes, and no key is lost", async () => {
    const { environment, node, faults } = await newEnvironment();
    const { server } = await startDaemons(environment, { ofServer: faults.environment });
    faults.setClock(20_000);
    await environment.network.run('node-agent', ['join', '--state', node.folder]);
    faults.setClock(0);
    const again = await environment.startFleet('once', [node]);
    await server.waitFor(({ msg }) => msg === 'refused: the clock was set back less than five minutes ago');
    await again.stop();
    expect(again.lines.some(({ msg }) => msg === 'joined')).toBe(false);
    expect(await findKeyMismatches(environment, [node])).toEqual([]);
  });
});

describe.skipIf(!CAN_INJECT_FAULTS)('the clock command (needs gcc)', () => {
  it("shows at what times no key is committed since the auth-server's clock was set back, and releases them", async () => {
    const { environment, faults } = await newEnvironment();
    const { network } = environment;
    const clock = (...args: readonly string[]): Promise<CommandResult> =>
      network.try('auth-server', ['clock', ...args, '--data', network.registry]);
    const nothing = 'no times are blocked';
    expect(await clock('release', '--yes')).toMatchObject({ code: 2, stderr: expect.stringContaining(nothing) as string });

    const server = environment.startAuthServer(faults.environment);
    await server.listening();
    faults.setClock(-3_600_000);
    await server.waitFor(({ msg }) => msg === 'no key is committed while the clock shows times that it has shown before');
    const shown = JSON.parse((await clock('show', '--json')).stdout) as unknown;
    expect(shown).toEqual({
      holdoff_until: expect.any(String),
      blocked_ranges: [{ from: expect.any(String), until: expect.any(String) }],
      controllers_with_old_keys: ['00000001'],
    });
    expect((await clock('show')).stdout).toMatch(
      /^No key is committed before \S+Z: the clock was set back [^]*Who kept back an M7 of controller 00000001/,
    );

    expect(await clock('release')).toMatchObject({ code: 2, stderr: expect.stringContaining('Nothing was changed') as string });
    // What is released counts once the five minutes are over; until then nobody is told that keys
    // are committed.
    const wait = 'No key is committed before ';
    expect(await clock('release', '--yes')).toMatchObject({ code: 0, stdout: expect.stringContaining(wait) as string });
    const waits = expect.stringContaining(`there is nothing to release but to wait\n${wait}`) as string;
    expect(await clock('release', '--yes')).toMatchObject({ code: 2, stderr: waits });
    expect((await clock('show')).stdout).toMatch(/^No key is committed before \S+Z: [^\n]+\n$/);
    await server.stop();
  });
});

describe('a replica that goes', () => {
  it('while nodes join: they go on through the other', async () => {
    const ground = await SoakEnvironment.create({ replicas: 2 });
    onTestFinished(() => ground.network.remove());
    const [first, second] = ground.serverAddresses;
    const nodes = await ground.install({ count: 24 });
    const fleets = [await ground.startFleet('run', nodes.slice(0, 12))];
    const server = ground.startAuthServer({}, first);
    await Promise.all([server.listening(), ground.startController().listening()]);
    await server.waitFor(({ msg }) => msg === 'node has a new key', TIMEOUT_MS);
    // Gone without a word, and the other takes over the one store; what is under way then goes
    // there.
    await server.stop('SIGKILL');
    fleets.push(await ground.startFleet('run', nodes.slice(12)));
    await ground.startAuthServer({}, second).listening();
    for (const [i, fleet] of fleets.entries()) {
      for (const { id } of nodes.slice(12 * i, 12 * (i + 1)))
        await fleet.waitFor(({ msg, node }) => msg === 'joined' && node === id, TIMEOUT_MS);
      await fleet.stop();
    }
    expect(await findKeyMismatches(ground, nodes)).toEqual([]);
  });

  it('silent, not gone: nodes join through the second all the same', async () => {
    const network = await TestNetwork.create();
    onTestFinished(() => network.remove());
    const silent = createSocket('udp4').bind(0, '127.0.0.1');
    await once(silent, 'listening');
    onTestFinished(() => void silent.close());
    const [address, server] = [await freePort(), await freePort()];
    await network.addController('00000001', address, [`127.0.0.1:${silent.address().port}`, server]);
    await network.startAuthServer(server);
    await network.startController('00000001', address);
    const { manifest, lines } = await network.order({ controller: '00000001', count: 1 });
    const id = (lines[0]?.idI ?? 0).toString(16).padStart(8, '0');
    const joined = await network.run('node-agent', ['join', '--state', await network.install(id, manifest)]);
    expect(joined).toContain('joined: its key is');
  });
});
