// Proves what becomes of a device key, by the commands as they are run: stored at manufacture,
// combined with the installer's half, erased or kept, and never said.

import { chmod, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Secret } from '@latchkey/protocol';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type CommandResult, runCommand } from '../src/process.js';
import split from '../../../protocol/test/vectors/split-key.json' with { type: 'json' };

const { device_key: DEVICE_KEY, installer_half: HALF, IK_i: IK } = split.vectors[0]!;
const OTHER_KEY = split.vectors[1]!.device_key;
const ID = '0000a1b2';

interface NodeJson {
  confirmed: { key: string; initial: boolean };
  candidates: { psk: string; stored_at: number }[];
  split?: boolean;
}

let folder: string;
let state: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'latchkey-device-key-'));
  state = join(folder, 'node');
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, content: string, mode = 0o600): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, content);
  await chmod(path, mode);
  return path;
}

const agent = (args: readonly string[], input?: string): Promise<CommandResult> => runCommand('node-agent', args, { input });
const provision = (path: string, ...more: readonly string[]): Promise<CommandResult> =>
  agent(['provision', '--state', state, '--device-key-file', path, ...more]);

/** Installs from a manifest whose key is the installer's half. */
async function install(...more: readonly string[]): Promise<CommandResult> {
  const manifest = await file('manifest.csv', `id,controller_id,controller,ik\n${ID},00000001,192.0.2.1:5683,${HALF}\n`);
  return agent(['install', '--state', state, '--manifest', manifest, '--id', ID, ...more]);
}

const nodeJson = async (): Promise<NodeJson> => JSON.parse(await readFile(join(state, 'node.json'), 'utf8')) as NodeJson;
const status = async (): Promise<Record<string, unknown>> =>
  JSON.parse((await agent(['status', '--state', state, '--json'])).stdout) as Record<string, unknown>;
const holdsDeviceKey = async (): Promise<boolean> => (await readdir(state)).includes('device-key');

function expectRefusal({ code, stdout, stderr }: CommandResult, ...words: readonly string[]): void {
  expect([code, stdout]).toEqual([2, '']);
  for (const word of words) expect(stderr).toContain(word);
  for (const secret of [DEVICE_KEY, OTHER_KEY, HALF, IK]) expect(stderr).not.toContain(secret);
}

describe('a command that was killed', () => {
  const asides = async (): Promise<string[]> =>
    (await readdir(state)).filter((name) => name.startsWith('.') && name.includes('key'));

  it('before install had erased the device key leaves that to the next command', async () => {
    for (const next of ['move', 'install'] as const) {
      await rm(state, { recursive: true, force: true });
      await provision(await file('device.key', DEVICE_KEY));
      expect((await install()).code).toBe(0);
      // As it was between the two steps.
      await writeFile(join(state, 'device-key'), DEVICE_KEY, { mode: 0o600 });
      await writeFile(join(state, 'node.json'), JSON.stringify({ ...(await nodeJson()), erase_device_key: true }));
      const { code } =
        next === 'install' ? await install() : await agent(['move', '--state', state, '--controller', '192.0.2.9:5683']);
      // A node is installed already.
      expect(code).toBe(next === 'install' ? 2 : 0);
      expect([await holdsDeviceKey(), await nodeJson()]).toEqual([
        false,
        expect.not.objectContaining({ erase_device_key: true }),
      ]);
    }
  });

  it.each(['provision', 'install'] as const)('leaves no key aside for longer than to the next %s', async (next) => {
    const path = await file('device.key', DEVICE_KEY);
    expect((await provision(path)).code).toBe(0);
    for (const name of ['.device-key.0123abcd', '.device-key.new', '.node.json.0123abcd', '.node.json.new'])
      await writeFile(join(state, name), DEVICE_KEY, { mode: 0o600 });
    expect((next === 'install' ? await install() : await provision(path)).code).toBe(0);
    expect([await asides(), (await readdir(state)).filter((name) => name.startsWith('.node.json'))]).toEqual([[], []]);
  });
});

describe('provision', () => {
  it('stores the device key for its owner only, and says its fingerprint', async () => {
    const done = await provision(await file('device.key', `${DEVICE_KEY}\n`));
    expect([done.code, done.stderr]).toEqual([0, '']);
    expect(done.stdout).toContain(String(Secret.fromHex(DEVICE_KEY)));
    expect(done.stdout).not.toContain(DEVICE_KEY);
    expect((await stat(join(state, 'device-key'))).mode & 0o777).toBe(0o600);
    expect(await readFile(join(state, 'device-key'), 'utf8')).toBe(`${DEVICE_KEY}\n`);
    expect(await status()).toEqual({ status: 'provisioned', device_key_here: true });
  });

  it('takes the device key from standard input, and the same one again', async () => {
    for (const _ of [1, 2])
      expect((await agent(['provision', '--state', state, '--device-key-file', '-'], DEVICE_KEY)).code).toBe(0);
  });

  it('gives up another device key only if told to replace it', async () => {
    const [first, second] = [await file('a', DEVICE_KEY), await file('b', OTHER_KEY)];
    await provision(first);
    expectRefusal(await provision(second), 'holds another device key', '--replace');
    expect((await readFile(join(state, 'device-key'), 'utf8')).trim()).toBe(DEVICE_KEY);
    expect((await provision(second, '--replace')).code).toBe(0);
    expect((await readFile(join(state, 'device-key'), 'utf8')).trim()).toBe(OTHER_KEY);
  });

  it('rejects a file that others can read, a key as an argument, and a key that none is', async () => {
    expectRefusal(await provision(await file('loose', DEVICE_KEY, 0o640)), 'has mode 0640', 'chmod 600');
    expectRefusal(await provision(DEVICE_KEY), 'not the key itself');
    expectRefusal(await provision(await file('short', DEVICE_KEY.slice(1))), 'expected one key of 32 hex digits');
    expectRefusal(await provision(await file('blank', '0'.repeat(32))), 'no key was ever written there');
    expectRefusal(await provision(join(folder, 'missing')), 'is not there');
  });
});

describe('install', () => {
  it('makes the initial key of both halves, and erases the device key', async () => {
    await provision(await file('device.key', DEVICE_KEY));
    const done = await install();
    expect([done.code, done.stderr]).toEqual([0, '']);
    expect(done.stdout).toContain(`initial key ${String(Secret.fromHex(IK))}`);
    expect(await nodeJson()).toMatchObject({ confirmed: { key: IK, initial: true }, split: true });
    expect(await holdsDeviceKey()).toBe(false);
    expect(await status()).toMatchObject({ status: 'installed', split: true, device_key_here: false });
  });

  it('takes a device key that was not provisioned, from a file', async () => {
    expect((await install('--device-key-file', await file('device.key', DEVICE_KEY))).code).toBe(0);
    expect((await nodeJson()).confirmed.key).toBe(IK);
    expect(await holdsDeviceKey()).toBe(false);
  });

  it('keeps the device key if told to, provisioned or not', async () => {
    expect((await install('--device-key-file', await file('device.key', DEVICE_KEY), '--keep-device-key')).code).toBe(0);
    expect((await stat(join(state, 'device-key'))).mode & 0o777).toBe(0o600);
    expect(await status()).toMatchObject({ split: true, device_key_here: true });
    expect((await install('--replace', '--keep-device-key')).code).toBe(0);
    expect((await nodeJson()).confirmed.key).toBe(IK);
    expect(await holdsDeviceKey()).toBe(true);
  });

  it('keeps open candidates if both halves make the initial key that is here', async () => {
    const deviceKey = await file('device.key', DEVICE_KEY);
    await install('--device-key-file', deviceKey);
    const candidates = [{ psk: OTHER_KEY, stored_at: 1 }];
    await writeFile(join(state, 'node.json'), JSON.stringify({ ...(await nodeJson()), candidates }), { mode: 0o600 });
    const again = await install('--replace', '--device-key-file', deviceKey);
    expect(again.stdout).toContain('Its open candidates stay');
    expect((await nodeJson()).candidates).toEqual(candidates);
  });

  it('refuses to take half for whole where the device key is gone, unless told that it is whole', async () => {
    await install('--device-key-file', await file('device.key', DEVICE_KEY));
    expectRefusal(await install('--replace'), 'installed with a device key', '--device-key-file', '--no-device-key');
    expect((await nodeJson()).confirmed.key).toBe(IK);
    expect((await install('--replace', '--no-device-key')).code).toBe(0);
    const { confirmed, split: isSplit } = await nodeJson();
    expect([confirmed.key, isSplit]).toEqual([HALF, undefined]);
  });

  it('leaves the device key where it is if the installation is refused', async () => {
    await provision(await file('device.key', DEVICE_KEY));
    await install('--keep-device-key');
    expectRefusal(await install(), 'holds an installed node already');
    expect(await holdsDeviceKey()).toBe(true);
  });

  it('rejects a device key that is not the one here, one that others can read, and options at odds', async () => {
    await provision(await file('device.key', DEVICE_KEY));
    expectRefusal(await install('--device-key-file', await file('other', OTHER_KEY)), 'holds another device key');
    expectRefusal(await install('--no-device-key', '--keep-device-key'), 'exclude each other');
    await chmod(join(state, 'device-key'), 0o644);
    expectRefusal(await install(), 'has mode 0644', 'chmod 600');
    await chmod(join(state, 'device-key'), 0o600);
    await writeFile(join(state, 'device-key'), 'torn');
    expectRefusal(await install(), 'expected one key of 32 hex digits', 'provision --device-key-file');
    expect(await readdir(state)).not.toContain('node.json');
  });

  it('rejects a device key that could not be kept, and standard input for two files', async () => {
    expectRefusal(await install('--keep-device-key'), 'holds no device key');
    const both = ['install', '--state', state, '--label', '-', '--device-key-file', '-'];
    expectRefusal(await agent(both, DEVICE_KEY), 'standard input cannot be both');
  });
});
