// Proves that commands which are printed work as they are printed: each is pasted into a shell.
// What `node why` prints: why.test.ts.

import { chmod, mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatId } from '@latchkey/protocol';
import { encryptManifest } from '@latchkey/provisioning';
import { exists } from '@latchkey/runtime/files';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import type { DaemonProcess } from '../src/process.js';
import { freePort, TestNetwork } from '../src/network.js';
import { type Advice, adviceIn, Desk } from './desk.js';
import { CONTROLLER, orderAndInstall, type RunningNetwork, showNode, startNetwork } from './fixtures.js';

const OTHER = '00000002';

let running: RunningNetwork;
let network: TestNetwork;
let desks = 0;

beforeAll(async () => {
  running = await startNetwork();
  ({ network } = running);
  await network.addController(OTHER, await freePort(), [running.serverAddress]);
});
afterAll(() => network.remove());

function openDesk(state = network.path('no-node'), manifest?: string): Promise<Desk> {
  desks += 1;
  return Desk.open(network, `advice-${desks}`, state, manifest);
}

/** What a command of the auth-server says, which fails. */
async function refused(desk: Desk, line: string, data: string = network.registry): Promise<Advice> {
  const { code, stdout, stderr } = await desk.paste(`latchkey-auth-server ${line} --data '${data}'`);
  expect([1, 2]).toContain(code);
  // On a terminal all of it is one.
  const text = `${stdout}${stderr}`;
  expect(text).not.toContain('internal error');
  return adviceIn(text);
}

describe('a command that fails prints the next one so that it works', () => {
  it.each([
    ['a node that is not there', 'node show 0badcafe', 'latchkey-auth-server node list'],
    ['a controller that is not there', 'controller show 0badcafe', 'latchkey-auth-server controller list'],
    ['an order that is not there', 'order show 77', 'latchkey-auth-server order list'],
    [
      'an order for a controller that is not there',
      'order create --installer Kim --count 1 --out ./kim --controller 0badcafe',
      'latchkey-auth-server controller list',
    ],
    ['an entry that is not there', 'audit prune --up-to 999999 --out ./old.jsonl', 'latchkey-auth-server audit list'],
  ])('%s', async (_, line, command) => {
    const desk = await openDesk();
    const { steps } = await refused(desk, line);
    expect(steps.map((step) => step.line)).toEqual([`${command} --data ${network.registry}`]);
    await desk.follow(steps);
  });

  it('a folder without a registry: no command makes one where the path was mistyped', async () => {
    const desk = await openDesk();
    for (const line of ['node list', 'run']) {
      const { text, steps } = await refused(desk, line, './mistyped');
      expect(text).toContain('Check the path: --data, or LATCHKEY_DATA.');
      expect(steps.map((step) => step.line)).toEqual(['latchkey-auth-server init --help']);
      await desk.follow(steps);
    }
    expect(await exists(join(desk.folder, 'mistyped'))).toBe(false);
    const device = await desk.paste('latchkey-node-agent status --state ./mistyped');
    expect(device.stderr).toContain('Check the path: --state, or LATCHKEY_STATE.');
    const { steps } = adviceIn(device.stderr);
    expect(steps.map((step) => step.line)).toEqual(['latchkey-node-agent install --help']);
    await desk.follow(steps);
  });

  it('a controller that has nodes: before it is asked whether to remove it', async () => {
    const { id } = await orderAndInstall(network);
    const desk = await openDesk();
    const { text, steps } = await refused(desk, 'controller remove 00000001');
    expect(text).toMatch(/^latchkey-auth-server: \d+ nodes? (?:is|are) assigned to controller 00000001\n/);
    expect(text).not.toContain('Remove controller');
    expect(steps).toHaveLength(1);
    await desk.follow(steps);
    expect(await showNode(network, id)).toMatchObject({ controller: OTHER });
    await network.run('auth-server', ['node', 'move', '--from', OTHER, '--controller', CONTROLLER, '--data', network.registry]);
  });

  it('a node that cannot be reset to an initial key that nobody has any more', async () => {
    const { id, state } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state]);
    const desk = await openDesk(state);
    const { steps } = await refused(desk, `node reset ${id}`);
    expect(steps).toHaveLength(1);
    await desk.follow(steps);
    const manifest = join(desk.folder, `reset-${id}`, 'manifest.csv');
    await network.run('node-agent', ['install', '--replace', '--state', state, '--manifest', manifest, '--id', id]);
    await expect
      .poll(async () => (await network.try('node-agent', ['join', '--state', state])).code, { interval: 2_000 })
      .toBe(0);
  });

  it('a node of an order that is closed for good', async () => {
    const { id, state, order } = await orderAndInstall(network);
    const { order: number } = await showNode(network, id);
    await network.run('auth-server', ['order', 'close', String(number), '--yes', '--data', network.registry]);
    const desk = await openDesk(state, order.manifest);
    const { steps } = await refused(desk, `node reset ${id} --out ./again`);
    expect(steps).toHaveLength(2);
    await desk.follow(steps);
    await expect
      .poll(async () => (await network.try('node-agent', ['join', '--state', state])).code, { interval: 2_000 })
      .toBe(0);
  });

  it('a manifest that is encrypted', async () => {
    const desk = await openDesk();
    const manifest = 'id,controller_id,controller,ik\n0badcaf1,00000001,192.0.2.1:5683,00112233445566778899aabbccddeeff\n';
    await writeFile(join(desk.folder, 'it is.age'), await encryptManifest(manifest, { passphrase: 'four random words here' }), {
      mode: 0o600,
    });
    const { steps } = await refused(desk, "import 'it is.age'");
    expect(steps.map((step) => step.line)).toEqual([
      `age -d 'it is.age' | latchkey-auth-server import - --data ${network.registry}`,
    ]);
    // In the place of age, which asks for the passphrase.
    await mkdir(join(desk.folder, 'bin'));
    const script = `#!/bin/sh\n[ "$*" = '-d it is.age' ] && cat <<END\n${manifest}END\n`;
    await writeFile(join(desk.folder, 'bin', 'age'), script, { mode: 0o755 });
    await desk.follow(steps);
    expect(await showNode(network, '0badcaf1')).toMatchObject({ state: 'enrolled' });
  });

  it('a key that others can read, and a folder that everybody may write to', async () => {
    const desk = await openDesk();
    const [key, folder] = [join(desk.folder, "it's.key"), join(desk.folder, 'it is open')];
    await writeFile(key, '0123456789abcdef'.repeat(2));
    await mkdir(folder);
    await Promise.all([chmod(key, 0o644), chmod(folder, 0o777)]);
    const list = await desk.paste(`latchkey-auth-server node list --data '${network.registry}' --master-key-file "it's.key"`);
    const init = await desk.paste("latchkey-auth-server init --data 'it is open'");
    for (const { stderr } of [list, init]) {
      const [, line = ''] = /^Run: (.*)$/m.exec(stderr) ?? [];
      expect(line).toMatch(/^chmod [67]00 '/);
      expect(await desk.paste(line)).toMatchObject({ code: 0 });
    }
    expect((await desk.paste("latchkey-auth-server init --data 'it is open'")).code).toBe(0);
  });

  it('an application key of a node that has not joined, on both sides', async () => {
    const { id, state } = await orderAndInstall(network);
    const desk = await openDesk(state);
    const device = await desk.paste(`latchkey-node-agent key --state '${state}' --label x`);
    const controller = await desk.paste(
      `latchkey-controller key ${id} --state '${network.path(`controller-${CONTROLLER}`)}' --label x`,
    );
    const [onDevice, onController] = [device, controller].map(({ stderr }) => adviceIn(stderr).steps);
    expect(onController?.map((step) => step.line)).toEqual([
      `latchkey-auth-server node why ${id} --data /var/lib/latchkey/auth-server`,
    ]);
    await desk.follow(onController ?? []);
    expect(onDevice?.map((step) => step.line)).toEqual([`latchkey-node-agent join --state ${state}`]);
    await desk.follow(onDevice ?? []);
    expect(await showNode(network, id)).toMatchObject({ state: 'joined' });
  });

  it('with the options that say where: a folder and a master key with spaces in their names', async () => {
    const desk = await openDesk();
    const where = "--data 'a registry' --master-key-file 'a key'";
    const admin = (line: string): Promise<unknown> =>
      desk.follow([{ on: 'desk', says: '', line: `latchkey-auth-server ${line} ${where}` }]);
    await admin('init');
    await admin('controller add 00000001 --nid 192.0.2.1:5683 --out c.json');
    await admin('order create --installer Kim --controller 00000001 --count 1 --out ./kim');
    const [id = ''] = /^[0-9a-f]{8}(?=,)/m.exec(await readFile(join(desk.folder, 'kim', 'manifest.csv'), 'utf8')) ?? [];
    await admin(`node disable ${id}`);
    const why = await desk.paste(`latchkey-auth-server node why ${id} ${where}`);
    const { steps } = adviceIn(why.stdout);
    expect(steps.map((step) => step.line)).toEqual([`latchkey-auth-server node enable ${id} ${where}`]);
    await desk.follow(steps);
    // What comes from the environment is there for the next command, too.
    const environment = { LATCHKEY_DATA: 'a registry', LATCHKEY_MASTER_KEY_FILE: 'a key' };
    await desk.paste(`latchkey-auth-server node disable ${id}`, 'desk', environment);
    const again = adviceIn((await desk.paste(`latchkey-auth-server node why ${id}`, 'desk', environment)).stdout);
    expect(again.steps.map((step) => step.line)).toEqual([`latchkey-auth-server node enable ${id}`]);
    await desk.follow(again.steps, environment);
  });
});

describe('`controller set`', () => {
  async function open(): Promise<{ own: RunningNetwork; desk: Desk; admin: (...args: readonly string[]) => Promise<string> }> {
    const own = await startNetwork();
    onTestFinished(() => own.network.remove());
    const desk = await Desk.open(own.network, 'set', own.network.path('no-node'));
    return { own, desk, admin: (...args) => own.network.run('auth-server', [...args, '--data', own.network.registry]) };
  }

  async function startController(own: RunningNetwork, listen: string): Promise<DaemonProcess> {
    await own.controller.stop();
    return own.network.startController(CONTROLLER, listen);
  }

  it('moves a controller to another address, and names manifests and devices that have the old one', async () => {
    const { own, desk, admin } = await open();
    const [joined, waiting] = [await orderAndInstall(own.network), await own.network.order({ controller: CONTROLLER, count: 2 })];
    await own.network.run('node-agent', ['join', '--state', joined.state]);
    const address = await freePort();
    const text = await admin('controller', 'set', CONTROLLER, '--nid', address);
    await startController(own, address);
    expect(text).toContain(
      `Nodes reach controller ${CONTROLLER} at ${address} from now on, no longer at ${own.controllerAddress}.`,
    );
    expect(text).toContain('Manifests and labels of 2 nodes that have not joined are out of date');
    expect(text).not.toContain('credential');
    const [exporting, moving, ...more] = adviceIn(text).steps;
    expect(more).toEqual([]);
    await desk.follow([exporting!]);
    const id = formatId(waiting.lines[0]!.idI);
    const state = await own.network.install(id, join(desk.folder, 'order-2', 'manifest.csv'));
    await own.network.run('node-agent', ['join', '--state', state]);
    // The device that has joined asks at the old address until it is told.
    expect((await own.network.try('node-agent', ['join', '--state', joined.state])).code).toBe(1);
    const device = await Desk.open(own.network, 'device', joined.state);
    await device.follow([moving!]);
    await own.network.run('node-agent', ['join', '--state', joined.state]);
    const [entry] = JSON.parse(await admin('audit', 'list', '--json', '--limit', '50')).filter(
      ({ what }: { what: string }) => what === 'controller changed',
    ) as { note: string; controller: string }[];
    expect(entry).toMatchObject({ controller: CONTROLLER, note: `nid ${own.controllerAddress} -> ${address}` });
    expect(await admin('controller', 'set', CONTROLLER, '--nid', address)).toBe(
      `Controller ${CONTROLLER} is set so already. Nothing was changed.\n`,
    );
  });

  it('turns a controller to another auth-server, while both run, and names the credential that has the old one', async () => {
    const { own, desk, admin } = await open();
    const { state } = await orderAndInstall(own.network);
    const address = await freePort();
    await own.authServer.stop();
    await own.network.startAuthServer(address);
    const text = await admin('controller', 'set', CONTROLLER, '--server', address);
    expect(text).not.toContain('Manifests');
    expect(JSON.parse(await admin('controller', 'show', CONTROLLER, '--json'))).toMatchObject({ servers: [address] });
    const { steps } = adviceIn(text);
    expect(steps).toHaveLength(1);
    await desk.follow(steps);
    await rename(join(desk.folder, `controller-${CONTROLLER}.json`), own.network.credential(CONTROLLER));
    own.controller.signal('SIGHUP');
    await own.controller.waitFor(({ msg, servers }) => msg === 'credential read anew' && servers === address);
    await own.network.run('node-agent', ['join', '--state', state]);
    // Nothing has changed since.
    own.controller.signal('SIGHUP');
    await own.controller.waitFor(({ msg }) => msg === 'credential read anew: nothing has changed');
  });

  it('refuses what is no change, and who is not there', async () => {
    const desk = await openDesk();
    expect((await refused(desk, 'controller set 00000001')).text).toContain('expected --nid, --server, --pass-through, ');
    expect((await refused(desk, 'controller set 0badcafe --nid 192.0.2.1:5683')).text).toContain('is not in the registry');
    expect((await refused(desk, 'controller add 00000001 --nid 192.0.2.1:5683 --out ./c.json')).text).toContain(
      'controller set --help',
    );
  });
});

// Of a variable that is set but empty an option is not given: units, images and scripts have many
// of them.
describe('a variable that is set but empty counts as unset', () => {
  const EMPTY = {
    LATCHKEY_HTTP: '',
    LATCHKEY_DATA: '',
    LATCHKEY_STATE: '',
    LATCHKEY_MASTER_KEY_FILE: '',
    LATCHKEY_MASTER_KEY_COMMAND: '',
  };
  const MORE = { CREDENTIALS_DIRECTORY: '', NOTIFY_SOCKET: '', WATCHDOG_USEC: '', WATCHDOG_PID: '', LATCHKEY_REVISION: '' };

  it('by all three daemons', async () => {
    const own = await TestNetwork.create();
    onTestFinished(() => own.remove());
    const [server, address] = [await freePort(), await freePort()];
    await own.addController(CONTROLLER, address, [server]);
    const environment = { ...EMPTY, ...MORE };
    const authServer = own.start('auth-server', ['run', '--data', own.registry, '--listen', server], environment);
    await authServer.listening();
    const state = own.path('controller');
    const args = ['run', '--credential', own.credential(CONTROLLER), '--state', state, '--listen', address];
    const controller = own.start('controller', args, environment);
    await controller.listening();
    const order = await own.order({ controller: CONTROLLER, count: 1 });
    const node = await own.install(formatId(order.lines[0]!.idI), order.manifest);
    const agent = own.start('node-agent', ['run', '--state', node], environment);
    await agent.waitFor(({ msg }) => msg === 'joined');
    for (const daemon of [agent, controller, authServer]) {
      daemon.signal('SIGHUP');
      await daemon.waitFor(({ msg }) => msg.endsWith('nothing has changed'));
      expect([await daemon.stop(), daemon.unparsedOutput]).toEqual([0, '']);
    }
  });

  it.each([
    ['latchkey-auth-server node list', 'no registry is named'],
    ['latchkey-controller key 0000a1b2 --label x', "required option '--state <dir>' not specified"],
    ['latchkey-node-agent status', "required option '--state <dir>' not specified"],
    ['latchkey-node-agent join', "required option '--state <dir>' not specified"],
    ['latchkey-auth-server health', 'it is not known where the daemon serves'],
    ['latchkey-controller health', 'it is not known where the daemon serves'],
    ['latchkey-node-agent health', 'it is not known where the daemon serves'],
  ])('by %s', async (line, says) => {
    const desk = await openDesk();
    const { code, stderr } = await desk.paste(line, 'desk', { ...EMPTY, ...MORE });
    expect([code, stderr]).toEqual([2, expect.stringContaining(says)]);
  });

  it('and an empty path of a folder is none', async () => {
    const desk = await openDesk();
    const { code, stderr } = await desk.paste('latchkey-auth-server init --data ""');
    expect([code, stderr]).toEqual([2, expect.stringContaining('expected the path of a folder')]);
    expect(await exists(join(desk.folder, 'master.key'))).toBe(false);
  });
});
