// Files that were spoiled while nothing ran: a daemon goes on without what it can do without, and
// names everything else, with the command that helps.

import { randomBytes } from 'node:crypto';
import { copyFile, cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { exists } from '@latchkey/runtime/files';
import type { DaemonProcess, CommandResult } from '../src/process.js';
import { applicationKeys, CONTROLLER, orderAndInstall, type RunningNetwork, showNode, startNetwork } from './fixtures.js';

const PAGE = 4_096;

let running: RunningNetwork;
/** A node that has joined. */
let node: { readonly id: string; readonly state: string };
let state: string;
beforeAll(async () => {
  running = await startNetwork();
  const { network, authServer, controller } = running;
  node = await orderAndInstall(network, { count: 300 });
  await network.run('node-agent', ['join', '--state', node.state]);
  state = network.path(`controller-${CONTROLLER}`);
  await network.run('auth-server', ['backup', network.path('before.lkb'), '--data', network.registry]);
  await Promise.all([authServer.stop(), controller.stop()]);
});
afterAll(() => running.network.remove());

/** The folder as it is now comes back after the test. */
async function putBackAfterTest(folder: string): Promise<void> {
  const kept = `${folder}-kept`;
  await cp(folder, kept, { recursive: true, preserveTimestamps: true });
  onTestFinished(async () => {
    await rm(folder, { recursive: true });
    await cp(kept, folder, { recursive: true, preserveTimestamps: true });
    await rm(kept, { recursive: true });
  });
}

type Spoil = (path: string) => Promise<void>;

const spoiled: Readonly<Record<string, Spoil>> = {
  empty: (path) => truncate(path, 0),
  'cut in half': async (path) => truncate(path, Math.floor((await readFile(path)).length / 2)),
  'all zeroes': async (path) => writeFile(path, Buffer.alloc((await readFile(path)).length)),
  random: async (path) => writeFile(path, randomBytes((await readFile(path)).length)),
};
const pages: Readonly<Record<string, Spoil>> = {
  'without its last pages': async (path) => truncate(path, 5 * PAGE),
  'of zeroes behind its first pages': async (path) => writeFile(path, (await readFile(path)).fill(0, 2 * PAGE)),
  'random behind its first pages': async (path) => {
    const octets = await readFile(path);
    await writeFile(path, Buffer.concat([octets.subarray(0, 2 * PAGE), randomBytes(octets.length - 2 * PAGE)]));
  },
};

function controllerRun(credential: string = running.network.credential(CONTROLLER)): DaemonProcess {
  const args = ['run', '--credential', credential, '--state', state, '--listen', running.controllerAddress];
  return running.network.start('controller', args);
}

describe('the keys of the nodes at a controller', () => {
  it.each(Object.entries({ ...spoiled, ...pages }))('%s: are put aside, and come back from the auth-server', async (_, spoil) => {
    const { network, serverAddress } = running;
    await Promise.all([putBackAfterTest(state), putBackAfterTest(network.registry), putBackAfterTest(node.state)]);
    await spoil(join(state, 'application-roots', 'data.mdb'));
    const key = (): Promise<CommandResult> => network.try('controller', ['key', node.id, '--state', state, '--label', 'test']);
    expect(await key()).toMatchObject({ code: 1, stderr: expect.stringContaining('is damaged: ') as string });

    const controller = controllerRun();
    await controller.listening();
    const said = await controller.waitFor(({ msg }) => msg.endsWith('; it was put aside'));
    expect(said).toMatchObject({
      level: 'error',
      aside: expect.stringContaining(`${state}/application-roots-damaged-`) as string,
    });
    expect(await readdir(String(said['aside']))).toContain('data.mdb');
    const { code, stderr } = await key();
    expect([code, stderr]).toEqual([1, expect.stringContaining(`no key of node ${node.id}`)]);
    const server = await network.startAuthServer(serverAddress);
    // The key feed asks for it again: the node need not join.
    await expect.poll(async () => (await key()).code, { timeout: 120_000 }).toBe(0);
    const [ofNode, ofController] = await applicationKeys(network, node.id, node.state);
    expect(ofNode).toBe(ofController);
    await Promise.all([server.stop(), controller.stop()]);
    expect(controller.unparsedOutput).toBe('');
  });
});

describe('a registry', () => {
  /** Those that serve, read a part, and read all of it. */
  const some = [
    ['run', '--listen', '127.0.0.1:0'],
    ['node', 'list'],
    ['backup', 'FILE'],
  ];
  const others = [
    ['node', 'show', 'ID'],
    ['node', 'why', 'ID'],
    ['order', 'list'],
    ['order', 'create', '--installer', 'Kim', '--controller', CONTROLLER, '--count', '3', '--out', 'FILE'],
    ['audit', 'list'],
    ['audit', 'verify'],
    ['export'],
  ];

  const cases: readonly (readonly [string, Spoil, readonly (readonly string[])[]])[] = [
    ['empty', (path) => truncate(path, 0), some],
    ...Object.entries(pages).map(([name, spoil], i) => [name, spoil, i === 1 ? [...some, ...others] : some] as const),
  ];
  it.each(cases)('%s: is named by every command, and the one that is told helps', async (_, spoil, commands) => {
    const { network } = running;
    await putBackAfterTest(network.registry);
    await spoil(join(network.registry, 'registry', 'data.mdb'));
    const advice = `latchkey-auth-server restore FILE --data ${network.registry} --replace`;
    const said = `^latchkey-auth-server: the store \\S+ is damaged: .*\nNothing was changed\\. Restore a backup: ${advice}\n$`;
    const words: Readonly<Record<string, string>> = { FILE: network.path('nothing'), ID: node.id };
    for (const command of commands) {
      const args = command.map((word) => words[word] ?? word);
      const { code, stdout, stderr } = await network.try('auth-server', [...args, '--data', network.registry]);
      expect([command, code, stdout, stderr]).toEqual([command, 1, '', expect.stringMatching(said)]);
    }
    expect(await exists(network.path('nothing'))).toBe(false);
    const restore = advice.replace('FILE', network.path('before.lkb')).split(' ').slice(1);
    await network.run('auth-server', [...restore, '--yes']);
    expect(await showNode(network, node.id)).toMatchObject({ state: 'joined' });
  });
});

describe('another file', () => {
  /** With what a controller says of it, unless it serves. */
  const files = (): readonly (readonly [path: string, said?: string])[] => [
    [join(state, 'lock')],
    [join(state, 'application-roots', 'lock.mdb')],
    [join(state, 'application-roots', 'open.lock')],
    [join(state, 'serials.json'), "not JSON\nIf this machine's clock is right, remove the file"],
    [join(state, 'master.key'), 'expected one key of 32 hex digits\nPut back the copy'],
    [join(state, 'credential.json'), 'not JSON\nExpected what `latchkey-auth-server controller add --out FILE` writes'],
  ];

  it.each(Object.entries(spoiled))('of a controller, %s: it serves, or names the file and what helps', async (_, spoil) => {
    const { network } = running;
    await putBackAfterTest(state);
    await copyFile(network.credential(CONTROLLER), join(state, 'credential.json'));
    for (const [path, said] of files()) {
      const octets = await readFile(path);
      await spoil(path);
      const controller = controllerRun(join(state, 'credential.json'));
      const serves = said === undefined;
      if (serves) await controller.listening();
      const code = await (serves ? controller.stop() : controller.ended());
      expect(`${code} "${controller.unparsedOutput}"`).toContain(serves ? '0 ""' : `2 "latchkey-controller: ${path}: ${said}`);
      await writeFile(path, octets);
    }
  });

  it('of serial numbers is removed as it is told, and the controller serves', async () => {
    await putBackAfterTest(state);
    await rm(join(state, 'serials.json'));
    const controller = controllerRun();
    await controller.listening();
    expect(await controller.stop()).toBe(0);
  });

  it.each(Object.entries(spoiled))('of a node, %s: it names the file and what helps', async (_, spoil) => {
    await putBackAfterTest(node.state);
    await spoil(join(node.state, 'node.json'));
    const { code, stderr } = await running.network.try('node-agent', ['status', '--state', node.state]);
    const said =
      /node\.json: .*\nThe file was changed by something else\. Restore it, or install the node again with --replace; .*\n$/;
    expect([code, stderr]).toEqual([2, expect.stringMatching(said)]);
  });
});
