// Proves pass-through controllers with real processes: joins and renewals in both modes and across
// switches while everything runs, what the commands say of it, and that combined mode is refused.

import { open, readFile } from 'node:fs/promises';
import { formatId } from '@latchkey/protocol';
import { readCredential } from '@latchkey/provisioning';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { applicationKeys, CONTROLLER, orderAndInstall, type RunningNetwork, showNode, startNetwork } from './fixtures.js';

let running: RunningNetwork;

beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());

function admin(...args: readonly string[]): Promise<string> {
  return running.network.run('auth-server', [...args, '--data', running.network.registry]);
}

/** The messages that the controller got from the auth-server for that node, in order. */
function answersFor(id: string): unknown[] {
  return running.controller.lines
    .filter(({ msg, node }) => msg === 'received' && node === id)
    .map((line) => line['message'])
    .filter((message) => message !== 'M1' && message !== 'M5');
}

describe('a controller that is switched while everything runs', () => {
  it('has nodes join and renew in either mode, and both ends derive the same application keys', async () => {
    const { network } = running;
    const { id, state } = await orderAndInstall(network);
    const join = async (): Promise<void> => {
      await network.run('node-agent', ['join', '--state', state]);
      // The application root is written beside the answer to the node.
      await expect.poll(async () => new Set(await applicationKeys(network, id, state)).size).toBe(1);
    };
    await join();
    const on = await admin('controller', 'set', CONTROLLER, '--pass-through', 'on');
    expect(on).toContain(`Controller ${CONTROLLER} gets no key of a node from now on.`);
    expect(on).toContain(`It could have had the keys of 1 node: ${id}.`);
    expect(on).toContain(`node reset ${id} --out`);
    await join();
    await join();
    expect(await admin('controller', 'set', CONTROLLER, '--pass-through', 'off')).toContain('gets the key of each node');
    await join();
    expect(answersFor(id)).toEqual(['M3', 'M8', 'M10', 'M11', 'M10', 'M11', 'M3', 'M8']);
    expect(await showNode(network, id)).toMatchObject({ state: 'joined', key_is_initial: false, key_holders: [CONTROLLER] });
  });

  it('lists the nodes whose keys it could have, in a few words or all of them, until they have new ones', async () => {
    const { network } = running;
    await admin('controller', 'set', CONTROLLER, '--pass-through', 'off');
    const order = await network.order({ controller: CONTROLLER, count: 23 });
    const ids = order.lines.map(({ idI }) => formatId(idI));
    const on = ['controller', 'set', CONTROLLER, '--pass-through', 'on'];
    const text = await admin(...on);
    expect(text).toMatch(/It could have had the keys of 24 nodes: (?:[0-9a-f]{8}, ){20}and 4 more\./);
    expect(text).toContain(`controller set ${CONTROLLER} --pass-through on --json`);
    interface View {
      readonly changed: boolean;
      readonly keys_held: readonly string[];
    }
    const heldKeys = async (): Promise<View> => JSON.parse(await admin(...on, '--json')) as View;
    const before = await heldKeys();
    expect(before).toMatchObject({ changed: false, pass_through: true, keys_held_unknown: [] });
    expect([before.keys_held.length, ids.every((id) => before.keys_held.includes(id))]).toEqual([24, true]);

    const [id = ''] = ids;
    const out = network.path('cured');
    await admin('node', 'reset', id, '--out', out, '--yes');
    expect((await heldKeys()).keys_held).toContain(id);
    const state = await network.install(id, `${out}/manifest.csv`);
    await network.run('node-agent', ['join', '--state', state]);
    expect((await heldKeys()).keys_held).toHaveLength(23);
    expect((await heldKeys()).keys_held).not.toContain(id);
    const shown = await showNode(network, id);
    expect(shown).toMatchObject({ key_holders: [], other_key_holders: false });
    // The keys of the others, and the one that this node had before.
    const exposures = JSON.parse(await admin('order', 'exposure', String(shown['order']), '--json')) as {
      key_holders: readonly string[];
    }[];
    expect(exposures.filter(({ key_holders }) => key_holders.includes(CONTROLLER))).toHaveLength(23);
    expect(exposures).toHaveLength(24);
    expect(await admin('node', 'show', id)).toMatch(/possible key holders +no controller\n/);
  });

  it('is shown as what it is, in tables, JSON and the audit log', async () => {
    await admin('controller', 'set', CONTROLLER, '--pass-through', 'on');
    const shown = JSON.parse(await admin('controller', 'show', CONTROLLER, '--json')) as Record<string, unknown>;
    expect(shown).toMatchObject({ pass_through: true, pass_through_switched_at: expect.stringMatching(/Z$/) as string });
    expect(await admin('controller', 'show', CONTROLLER)).toMatch(/pass-through +on, since \d{4}-/);
    expect(await admin('controller', 'list')).toMatch(/PASS-THROUGH.*\n00000001 .* yes /);
    expect(await admin('controller', 'set', CONTROLLER, '--pass-through', 'on')).toContain('Nothing was changed.');
    const added = ['controller', 'add', '00000002', '--nid', '192.0.2.9:5683', '--pass-through'];
    await admin(...added, '--out', running.network.path('c2.json'));
    expect(JSON.parse(await admin('controller', 'show', '00000002', '--json'))).toMatchObject({
      pass_through: true,
      pass_through_switched_at: null,
    });
    const entries = JSON.parse(await admin('audit', 'list', '--json', '--limit', '50')) as { what: string; note?: string }[];
    expect(entries.filter(({ note }) => note?.startsWith('pass-through')).map(({ what, note }) => `${what}: ${note}`)).toEqual(
      expect.arrayContaining([
        'controller added: pass-through',
        'controller changed: pass-through off -> on',
        'controller changed: pass-through on -> off',
      ]),
    );
  });

  it('has a node join whose initial key it never had, and none is in what the controller has', async () => {
    const { network } = running;
    await admin('controller', 'set', CONTROLLER, '--pass-through', 'on');
    const { id, state, order } = await orderAndInstall(network);
    await network.run('node-agent', ['join', '--state', state]);
    expect(answersFor(id)).toEqual(['M10', 'M11']);
    const number = String((await showNode(network, id))['order']);
    const exposure = JSON.parse(await admin('order', 'exposure', number, '--json')) as unknown;
    expect(exposure).toMatchObject([{ held: 0, joined: 1, controllers: [], key_holders: [], other_key_holders: false }]);
    expect(order.lines.map(({ idI }) => formatId(idI))).toEqual([id]);
  });
});

/** Which of these the process has anywhere in its memory that it may write to, as octets. */
async function findInMemory(pid: number, wanted: ReadonlyMap<string, Buffer>): Promise<readonly string[]> {
  const found = new Set<string>();
  const memory = await open(`/proc/${pid}/mem`, 'r');
  try {
    for (const line of (await readFile(`/proc/${pid}/maps`, 'utf8')).split('\n')) {
      const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) rw/.exec(line) ?? [];
      if (from === undefined || to === undefined) continue;
      const [start, end] = [BigInt(`0x${from}`), BigInt(`0x${to}`)];
      // Pieces overlap, so that no key lies across two.
      const piece = Buffer.alloc(1 << 20);
      for (let at = start; at < end; at += BigInt(piece.length - 16)) {
        const length = Number(end - at < BigInt(piece.length) ? end - at : BigInt(piece.length));
        const read = await memory.read(piece, 0, length, Number(at)).catch(() => undefined);
        // Memory that is mapped and not there, or gone since.
        if (read === undefined) continue;
        for (const [name, key] of wanted) if (piece.subarray(0, read.bytesRead).includes(key)) found.add(name);
      }
    }
  } finally {
    await memory.close();
  }
  return [...found].toSorted();
}

describe('the memory of a pass-through controller', () => {
  it('has no key of a node that it served: neither an initial key nor a PSK, while SK_cs is found there', async () => {
    const { network, controller } = running;
    await admin('controller', 'set', CONTROLLER, '--pass-through', 'on');
    const order = await network.order({ controller: CONTROLLER, count: 5 });
    const { skCs } = await readCredential(network.credential(CONTROLLER));
    const wanted = new Map([['SK_cs', Buffer.from(skCs.expose())]]);
    for (const { idI, ik } of order.lines) {
      const id = formatId(idI);
      wanted.set(`IK of ${id}`, Buffer.from(ik.expose()));
      const state = await network.install(id, order.manifest);
      for (const i of [1, 2]) {
        await network.run('node-agent', ['join', '--state', state]);
        const registry = await network.openRegistry();
        wanted.set(`PSK ${i} of ${id}`, Buffer.from((await registry.node(idI))!.key.expose()));
        await registry.close();
      }
    }
    expect(wanted.size).toBe(16);
    expect(await findInMemory(controller.pid, wanted)).toEqual(['SK_cs']);
  });
});

describe('combined mode', () => {
  it('is refused for a pass-through controller, and a switch is refused while it runs', async () => {
    const { network, controller, authServer, controllerAddress } = running;
    await admin('controller', 'set', CONTROLLER, '--pass-through', 'on');
    await controller.stop();
    await authServer.stop();
    const config = await network.file('combined.yaml', `mode: combined\nregistry: ${network.registry}\n`);
    const args = ['run', '--credential', network.credential(CONTROLLER), '--state', network.path(`controller-${CONTROLLER}`)];
    const combined = [...args, '--config', config, '--listen', controllerAddress];
    const refused = await network.try('controller', combined);
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.stderr).toContain(`controller ${CONTROLLER} is pass-through, and in combined mode it would hold every key`);
    expect(refused.stderr).toContain(`controller set ${CONTROLLER} --pass-through off`);
    await admin('controller', 'set', CONTROLLER, '--pass-through', 'off');
    const daemon = network.start('controller', combined);
    await daemon.listening();
    const set = ['controller', 'set', CONTROLLER, '--pass-through', 'on', '--data', network.registry];
    const change = await network.try('auth-server', set);
    expect(change).toMatchObject({ code: 2 });
    expect(change.stderr).toContain('a controller in combined mode runs on');
    expect(JSON.parse(await admin('controller', 'show', CONTROLLER, '--json'))).toMatchObject({ pass_through: false });
    await daemon.stop();
  });
});
