// Proves split initial keys from the manufacturer's list to the node that has joined, with real
// processes: what the installer is given, what the registry stores and forgets, what it takes to
// reset such a node, and each refusal.

import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deriveInitialKey, formatId, Secret } from '@latchkey/protocol';
import { parseManifest } from '@latchkey/provisioning';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CommandResult } from '../src/process.js';
import { applicationKeys, CONTROLLER, type RunningNetwork, showNode, showStatus, startNetwork } from './fixtures.js';

interface Device {
  readonly id: string;
  readonly deviceKey: string;
}

let running: RunningNetwork;
let scratch: string;
beforeAll(async () => {
  running = await startNetwork();
  scratch = await mkdtemp(join(running.network.folder, 'scratch-'));
});
afterAll(() => running.network.remove());

const hexKey = (): string => randomBytes(16).toString('hex');
const newDevices = (count: number): Device[] =>
  Array.from({ length: count }, () => ({ id: randomBytes(4).toString('hex'), deviceKey: hexKey() })).toSorted((a, b) =>
    a.id < b.id ? -1 : 1,
  );
const csv = (devices: readonly Device[]): string =>
  ['id,device_key', ...devices.map(({ id, deviceKey }) => `${id},${deviceKey}`), ''].join('\n');

let files = 0;
async function file(content: string): Promise<string> {
  const path = join(scratch, `file-${++files}`);
  await writeFile(path, content, { mode: 0o600 });
  return path;
}
const newFolder = (): string => join(scratch, `folder-${++files}`);

const server = (args: readonly string[], input?: string): Promise<CommandResult> =>
  running.network.try('auth-server', [...args, '--data', running.network.registry], input);

const orderArguments = (deviceKeys: string, out: string): string[] => [
  'order',
  'create',
  '--installer',
  'Kim',
  '--controller',
  CONTROLLER,
  '--device-keys',
  deviceKeys,
  '--manufacturer',
  'ACME',
  '--out',
  out,
];

interface SplitOrder {
  readonly number: number;
  readonly manifest: string;
  readonly deviceKeys: string;
  readonly devices: readonly Device[];
  readonly halves: ReadonlyMap<string, Secret>;
}

async function halvesIn(manifest: string): Promise<Map<string, Secret>> {
  const lines = parseManifest(await readFile(manifest, 'utf8'), manifest);
  return new Map(lines.map(({ idI, ik }) => [formatId(idI), ik]));
}

async function splitOrder(devices: readonly Device[], ...more: readonly string[]): Promise<SplitOrder> {
  const [deviceKeys, out] = [await file(csv(devices)), newFolder()];
  const done = await server([...orderArguments(deviceKeys, out), '--json', ...more]);
  expect([done.code, done.stderr]).toEqual([0, '']);
  const { order, split, manufacturer } = JSON.parse(done.stdout) as { order: number; split: boolean; manufacturer: string };
  expect([split, manufacturer]).toEqual([true, 'ACME']);
  const manifest = join(out, 'manifest.csv');
  return { number: order, manifest, deviceKeys, devices, halves: await halvesIn(manifest) };
}

const fingerprintOf = (deviceKey: string, half: Secret): string => deriveInitialKey(Secret.fromHex(deviceKey), half).fingerprint;

/** At manufacture, and then by the installer. */
async function provisionAndInstall({ id, deviceKey }: Device, manifest: string): Promise<string> {
  const { network } = running;
  const state = network.node(id);
  await network.run('node-agent', ['provision', '--state', state, '--device-key-file', '-'], deviceKey);
  return network.install(id, manifest);
}

async function initialKeyLeft(id: string): Promise<{ split: boolean; half: boolean }> {
  const registry = await running.network.openRegistry();
  try {
    const row = registry.tables.nodes.get(Number.parseInt(id, 16));
    return { split: row?.split === true, half: row?.half !== undefined };
  } finally {
    await registry.close();
  }
}

async function lifeOf(id: string): Promise<{ what: string; note?: string }[]> {
  return (await showNode(running.network, id))['life'] as { what: string; note?: string }[];
}

function expectRefusal({ code, stderr }: CommandResult, secrets: readonly string[], ...words: readonly string[]): void {
  expect(stderr).not.toBe('');
  expect(code).toBe(2);
  for (const word of words) expect(stderr).toContain(word);
  for (const secret of secrets) expect(stderr).not.toContain(secret);
}

describe('an order with device keys', () => {
  it("has the manufacturer's IDs, hands over halves, and its nodes join with both halves only", async () => {
    const { network } = running;
    const order = await splitOrder(newDevices(2));
    const [device, other] = order.devices as [Device, Device];
    expect([...order.halves.keys()]).toEqual(order.devices.map(({ id }) => id));
    const half = order.halves.get(device.id)!;
    expect(await showNode(network, device.id)).toMatchObject({
      split: true,
      key: fingerprintOf(device.deviceKey, half),
      initial_key: fingerprintOf(device.deviceKey, half),
    });
    expect((await server(['node', 'show', device.id])).stdout).toContain("split: a device key and the installer's half");
    expect(JSON.parse((await server(['order', 'show', String(order.number), '--json'])).stdout)).toMatchObject({
      nodes: 2,
      split: true,
      manufacturer: 'ACME',
    });
    expect((await lifeOf(device.id))[0]).toMatchObject({
      what: 'order created',
      note: 'Kim; split initial keys, device keys from ACME',
    });

    const state = await provisionAndInstall(device, order.manifest);
    await network.run('node-agent', ['join', '--state', state]);
    const [ofNode, ofController] = await applicationKeys(network, device.id, state);
    expect(ofNode).toBe(ofController);
    // The half goes with the initial key, the mark stays.
    expect(await initialKeyLeft(device.id)).toEqual({ split: true, half: false });
    expect(await initialKeyLeft(other.id)).toEqual({ split: true, half: true });
    expect(await showStatus(network, state)).toMatchObject({ status: 'joined', split: true, device_key_here: false });

    // An installer who takes the half for the whole key does not get in.
    await network.install(other.id, order.manifest);
    expect((await network.try('node-agent', ['join', '--state', network.node(other.id)])).code).toBe(1);
    expect(await showNode(network, other.id)).toMatchObject({ state: 'enrolled' });
  });

  it('gives the same halves again in another manifest', async () => {
    const order = await splitOrder(newDevices(3));
    const again = newFolder();
    expect((await server(['order', 'export', String(order.number), '--out', again])).code).toBe(0);
    const exported = await halvesIn(join(again, 'manifest.csv'));
    expect([...exported].map(([id, half]) => [id, half.toHex()])).toEqual(
      [...order.halves].map(([id, half]) => [id, half.toHex()]),
    );
  });

  it('may have one half for all, and still a key of its own for each', async () => {
    const order = await splitOrder(newDevices(3), '--shared-key');
    expect(new Set([...order.halves.values()].map((half) => half.toHex())).size).toBe(1);
    const keys = await Promise.all(order.devices.map(async ({ id }) => (await showNode(running.network, id))['key']));
    expect(keys).toEqual(order.devices.map(({ id, deviceKey }) => fingerprintOf(deviceKey, order.halves.get(id)!)));
  });

  it('takes JSON Lines, and a list from standard input', async () => {
    const devices = newDevices(2);
    const lines = devices.map(({ id, deviceKey }) => JSON.stringify({ id, device_key: deviceKey })).join('\n');
    expect((await server(orderArguments('-', newFolder()), lines)).code).toBe(0);
    expect(await showNode(running.network, devices[1]!.id)).toMatchObject({ split: true });
  });

  it('tells who was given which half, also once the key is retired', async () => {
    const order = await splitOrder(newDevices(1));
    const exposure = async (): Promise<unknown> =>
      JSON.parse((await server(['order', 'exposure', String(order.number), '--json'])).stdout);
    const halves = { split: true, device_keys: [{ order: order.number, manufacturer: 'ACME' }] };
    expect(await exposure()).toMatchObject([{ ...halves, held: 1, issued: [{ installer: 'Kim' }] }]);
    const table = (await server(['order', 'exposure', String(order.number)])).stdout;
    expect(table).toMatch(/installer's half: Kim \S+; device key: ACME/);
    expect((await server(['node', 'remove', order.devices[0]!.id, '--yes'])).code).toBe(0);
    expect(await exposure()).toMatchObject([{ ...halves, held: 0, issued: [{ installer: 'Kim' }] }]);
  });
});

describe('device keys are refused', () => {
  const create = async (content: string): Promise<CommandResult> => server(orderArguments(await file(content), newFolder()));

  it('that stand twice, with their lines and without a key', async () => {
    const [a, b] = newDevices(2) as [Device, Device];
    const secrets = [a.deviceKey, b.deviceKey];
    expectRefusal(
      await create(csv([a, { ...b, deviceKey: a.deviceKey }])),
      secrets,
      `line 3: device_key: it stands in line 2 already, for ${a.id}`,
    );
    expectRefusal(
      await create(csv([a, { ...a, deviceKey: b.deviceKey }])),
      secrets,
      `line 3: id: ${a.id} stands in line 2 already`,
    );
  });

  it('that are an initial key, of a node or of one that was removed', async () => {
    const { lines } = await running.network.order({ controller: CONTROLLER, count: 2 });
    const [held, removed] = lines.map(({ idI, ik }) => ({ id: formatId(idI), key: ik.toHex() })) as [
      { id: string; key: string },
      { id: string; key: string },
    ];
    await server(['node', 'remove', removed.id, '--yes']);
    const [a, b] = newDevices(2) as [Device, Device];
    const content = csv([
      { ...a, deviceKey: held.key },
      { ...b, deviceKey: removed.key },
    ]);
    expectRefusal(
      await create(content),
      [held.key, removed.key],
      `line 2: device_key: it is the initial key of node ${held.id}`,
      'line 3: device_key: it was',
    );
  });

  it('of nodes that are in the registry, and lines that are wrong', async () => {
    const { lines } = await running.network.order({ controller: CONTROLLER, count: 1 });
    const id = formatId(lines[0]!.idI);
    const deviceKey = hexKey();
    expectRefusal(await create(csv([{ id, deviceKey }])), [deviceKey], `line 2: id: node ${id} is in the registry already`);
    expectRefusal(
      await create(`id,device_key\n0000a1b2,${deviceKey.slice(2)}\n`),
      [deviceKey.slice(2)],
      'line 2: device_key: expected 32 hex digits, not 30',
    );
    expectRefusal(
      await create(`id,ik\n0000a1b2,${deviceKey}\n`),
      [deviceKey],
      'expected the header id,device_key',
      'device_key is missing',
    );
    expectRefusal(await create(`id device_key\n`), [], 'its fields are separated by blanks');
    expectRefusal(await create(''), [], 'is empty', 'id,device_key');
  });

  it('that others can read, that are not as many as said, and none at all', async () => {
    const path = await file(csv(newDevices(2)));
    expectRefusal(await server([...orderArguments(path, newFolder()), '--count', '3']), [], 'has 2 device keys, and the order 3');
    const { network } = running;
    const loose = await network.file('loose.csv', csv(newDevices(1)), 0o644);
    expectRefusal(await server(orderArguments(loose, newFolder())), [], 'has mode 0644', 'chmod 600');
    const none = ['order', 'create', '--installer', 'Kim', '--controller', CONTROLLER, '--out', newFolder()];
    expectRefusal(await server(none), [], '--count is missing', '--device-keys');
  });
});

describe('an import with device keys', () => {
  const importing = async (
    devices: readonly Device[],
    deviceKeys: string,
  ): Promise<{ result: CommandResult; halves: string[] }> => {
    const halves = devices.map(hexKey);
    const rows = devices.map(({ id }, i) => `${id},${CONTROLLER},${running.controllerAddress},${halves[i]}`);
    const path = await file(['id,controller_id,controller,ik', ...rows, ''].join('\n'));
    return { result: await server(['import', path, '--device-keys', deviceKeys, '--manufacturer', 'ACME']), halves };
  };

  it("takes the keys in the file for installer's halves", async () => {
    const devices = newDevices(2);
    const { result, halves } = await importing(devices, await file(csv(devices)));
    expect([result.code, result.stderr]).toEqual([0, '']);
    for (const [i, { id, deviceKey }] of devices.entries())
      expect(await showNode(running.network, id)).toMatchObject({
        split: true,
        key: fingerprintOf(deviceKey, Secret.fromHex(halves[i]!)),
      });
  });

  it('refuses a node without a device key, and a device key in the place of a half', async () => {
    const [a, b] = newDevices(2) as [Device, Device];
    const { result } = await importing([a, b], await file(csv([a])));
    expectRefusal(result, [a.deviceKey]);
    expect(result.stdout).toContain(`has no device key for it`);
    const row = `${a.id},${CONTROLLER},${running.controllerAddress},${a.deviceKey}`;
    const leaked = await file(`id,controller_id,controller,ik\n${row}\n`);
    const refused = await server(['import', leaked, '--device-keys', await file(csv([a]))]);
    expectRefusal(refused, [a.deviceKey]);
    expect(refused.stdout).toContain('which no installer must have');
  });

  it('refuses to make a whole key of a half', async () => {
    const { devices, number } = await splitOrder(newDevices(1));
    const row = `${devices[0]!.id},${CONTROLLER},${running.controllerAddress},${hexKey()}`;
    const refused = await server(['import', await file(`id,controller_id,controller,ik\n${row}\n`)]);
    expectRefusal(refused, []);
    expect(refused.stdout).toContain('its initial key is split');
    expect(await initialKeyLeft(devices[0]!.id)).toEqual({ split: true, half: true });
    expect(number).toBeGreaterThan(0);
  });
});

describe('a reset of a split node', () => {
  it('draws another half, with the device key given again, and the device joins', async () => {
    const { network } = running;
    const { devices, manifest, deviceKeys, halves } = await splitOrder(newDevices(1));
    const [device] = devices as [Device];
    const state = await provisionAndInstall(device, manifest);
    await network.run('node-agent', ['join', '--state', state]);

    const out = newFolder();
    expectRefusal(
      await server(['node', 'reset', device.id, '--out', out, '--yes']),
      [],
      'is split',
      '--device-keys',
      '--unsplit',
    );
    const done = await server([
      'node',
      'reset',
      device.id,
      '--out',
      out,
      '--device-keys',
      deviceKeys,
      '--manufacturer',
      'ACME',
      '--yes',
    ]);
    expect([done.code, done.stderr]).toEqual([0, '']);
    const again = join(out, 'manifest.csv');
    const half = (await halvesIn(again)).get(device.id)!;
    expect(half.equals(halves.get(device.id)!)).toBe(false);
    expect(await showNode(network, device.id)).toMatchObject({ split: true, key: fingerprintOf(device.deviceKey, half) });
    expect((await lifeOf(device.id)).at(-1)).toMatchObject({ what: 'node reset', note: 'split initial key' });

    const why = await server(['node', 'why', device.id, '--holds', '0000', '--json']);
    const { steps } = JSON.parse(why.stdout) as { steps: { command: string }[] };
    expect(steps.map(({ command }) => command)).toEqual([
      expect.stringContaining('--device-keys device-keys.csv') as string,
      expect.stringContaining('--device-key-file device.key') as string,
    ]);

    const install = ['install', '--state', state, '--manifest', again, '--id', device.id, '--replace'];
    expectRefusal(await network.try('node-agent', install), [], 'device key, which is not here any more');
    await network.run('node-agent', [...install, '--device-key-file', '-'], device.deviceKey);
    await network.run('node-agent', ['join', '--state', state]);
    expect(await showNode(network, device.id)).toMatchObject({ state: 'joined' });
    expect(await initialKeyLeft(device.id)).toEqual({ split: true, half: false });
  });

  it('gives a whole key if that is said aloud', async () => {
    const { network } = running;
    const { devices, deviceKeys } = await splitOrder(newDevices(1));
    const [device] = devices as [Device];
    const out = newFolder();
    expectRefusal(
      await server(['node', 'reset', device.id, '--out', out, '--unsplit', '--device-keys', deviceKeys, '--yes']),
      [],
      'cannot be used with',
    );
    expect((await server(['node', 'reset', device.id, '--out', out, '--unsplit', '--yes'])).code).toBe(0);
    expect(await initialKeyLeft(device.id)).toEqual({ split: false, half: false });
    expect((await lifeOf(device.id)).at(-1)).toMatchObject({ note: 'whole initial key, no longer split' });
    const state = await network.install(device.id, join(out, 'manifest.csv'));
    await network.run('node-agent', ['join', '--state', state]);
  });

  it('of a whole order takes the device key of each node', async () => {
    const { devices, deviceKeys, number } = await splitOrder(newDevices(2));
    const some = await file(csv(devices.slice(1)));
    const reset = (path: string, out: string): Promise<CommandResult> =>
      server(['node', 'reset', '--order', String(number), '--out', out, '--device-keys', path, '--yes']);
    expectRefusal(await reset(some, newFolder()), [], `no device key for node ${devices[0]!.id}`);
    const out = newFolder();
    expect((await reset(deviceKeys, out)).code).toBe(0);
    const halves = await halvesIn(join(out, 'manifest.csv'));
    for (const { id, deviceKey } of devices)
      expect(await showNode(running.network, id)).toMatchObject({ key: fingerprintOf(deviceKey, halves.get(id)!) });
  });
});

describe('the registry', () => {
  it('has no device key in it, and keeps halves through a backup, a restore and another master key', async () => {
    const { network } = running;
    const order = await splitOrder(newDevices(2));
    expect((await server(['master-key', 'rotate'])).code).toBe(0);
    const [backup, folder] = [join(scratch, 'backup'), newFolder()];
    expect((await server(['backup', backup])).code).toBe(0);
    const octets = await readFile(backup);
    for (const { deviceKey } of order.devices) {
      expect(octets.includes(Buffer.from(deviceKey, 'hex'))).toBe(false);
      expect(octets.includes(deviceKey)).toBe(false);
    }
    for (const half of order.halves.values()) expect(octets.includes(Buffer.from(half.expose()))).toBe(false);
    const masterKey = join(network.registry, 'master.key');
    await network.run('auth-server', ['restore', backup, '--data', folder, '--master-key-file', masterKey]);
    const out = newFolder();
    const again = ['order', 'export', String(order.number), '--out', out, '--data', folder, '--master-key-file', masterKey];
    await network.run('auth-server', again);
    const halves = await halvesIn(join(out, 'manifest.csv'));
    expect([...halves.values()].map((half) => half.toHex())).toEqual([...order.halves.values()].map((half) => half.toHex()));
    await rm(folder, { recursive: true });
  });
});
