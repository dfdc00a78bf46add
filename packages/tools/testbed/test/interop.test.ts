// A second implementation (peer.ts, raw UDP) plays each role against the other two: what is on the
// wire is the profile.

import { randomBytes } from 'node:crypto';
import { formatId, type Secret } from '@latchkey/protocol';
import { readCredential } from '@latchkey/provisioning';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { DaemonProcess } from '../src/process.js';
import { freePort, type TestNetwork } from '../src/network.js';
import {
  CONTROLLER,
  endpointOf,
  ID_C,
  orderAndInstall,
  type PlannedNetwork,
  planNetwork,
  type RunningNetwork,
  showNode,
  showStatus,
  startNetwork,
} from './fixtures.js';
import * as peer from './reference-peer.js';

const IK = Buffer.from('000102030405060708090a0b0c0d0e0f', 'hex');
const octetsOf = (secret: Secret): Buffer => Buffer.from(secret.expose());

/** For the tests that play nodes only: both daemons, which serve node after node. */
let running: RunningNetwork;
let socket: peer.RawSocket;
beforeAll(async () => {
  running = await startNetwork();
});
afterAll(() => running.network.remove());
beforeEach(async () => {
  socket = await peer.RawSocket.open();
});
afterEach(() => socket.close());

async function orderedNode(lifetime = '30d'): Promise<peer.PeerNode> {
  const { lines } = await running.network.order({ controller: CONTROLLER, count: 1, lifetime });
  return new peer.PeerNode(socket, { id: lines[0]!.idI, key: octetsOf(lines[0]!.ik), controllers: [ID_C] });
}

async function credentialOf(network: TestNetwork): Promise<{ id: number; skCs: Buffer }> {
  const { idC, skCs } = await readCredential(network.credential(CONTROLLER));
  return { id: idC, skCs: octetsOf(skCs) };
}

describe('a foreign node', () => {
  it('joins and renews; a copy of M1 gets the same M4, a copy of M5 the same M6', async () => {
    const controller = endpointOf(running.controllerAddress);
    const node = await orderedNode();
    const joined = await node.join(controller);
    expect(joined.lifetime).toBe(2_592_000);
    expect((await socket.request(controller, { payload: joined.m1 }))?.payload).toEqual(joined.m4);
    expect((await socket.request(controller, { payload: joined.m5 }))?.payload).toEqual(joined.m6);
    const again = await node.join(controller);
    expect(again.psk).not.toEqual(joined.psk);
    expect(again.tid).toBeGreaterThan(joined.tid);
    expect(await showNode(running.network, formatId(node.id))).toMatchObject({
      state: 'joined',
      tid: again.tid.toString(16).padStart(16, '0'),
    });
  });

  it('joins from one copy of M1 and M5 sent many times over before the answers come', async () => {
    const controller = endpointOf(running.controllerAddress);
    const node = await orderedNode();
    node.start();
    const first = await Promise.all(Array.from({ length: 20 }, () => node.sendM1(controller)));
    expect(new Set(first.map((answer) => answer?.payload.toString('hex'))).size).toBe(1);
    const second = await Promise.all(Array.from({ length: 20 }, () => node.sendM5(controller)));
    expect(new Set(second.map((answer) => answer?.payload.toString('hex'))).size).toBe(1);
    expect(second[0]?.code).toBe('2.04');
    const id = formatId(node.id);
    const keys = running.authServer.lines.filter((line) => line.msg === 'node has a new key' && line['node'] === id);
    expect(keys).toHaveLength(1);
  });

  it('is answered 4.01 to a wrong M5, and joins with the right one after it', async () => {
    const controller = endpointOf(running.controllerAddress);
    const node = await orderedNode();
    node.start();
    await node.sendM1(controller);
    const right = node.attempt.m5!;
    for (let octet = 9; octet < right.length; octet++) {
      const wrong = Buffer.from(right);
      wrong[octet]! ^= 0x01;
      const answer = await socket.request(controller, { payload: wrong });
      expect(answer?.payload).toHaveLength(0);
      expect(answer?.code).toBe('4.01');
      if (peer.option(answer!, 252) !== undefined) break;
    }
    expect((await node.sendM5(controller))?.code).toBe('2.04');
  });

  it('is refused as the table has it: 4.00, 4.03, 4.04, 4.05, 4.15', async () => {
    const controller = endpointOf(running.controllerAddress);
    const code = async (request: peer.Request): Promise<string | undefined> => (await socket.request(controller, request))?.code;
    const m1 = peer.m1(0xdead_beef, randomBytes(16));
    expect(await code({ payload: m1.subarray(1) })).toBe('4.00');
    expect(await code({ payload: Buffer.concat([m1, Buffer.of(0)]) })).toBe('4.00');
    expect(await code({ payload: Buffer.concat([Buffer.of(0x21), m1.subarray(1)]) })).toBe('4.00');
    expect(await code({ payload: m1 })).toBe('4.03');
    expect(await code({ payload: Buffer.concat([Buffer.of(0x15), Buffer.alloc(32)]) })).toBe('4.04');
    expect(await code({ payload: m1, code: '0.03' })).toBe('4.05');
    expect(await code({ payload: m1, options: [[12, Buffer.of(50)]] })).toBe('4.15');
    expect(await code({ payload: m1, path: ['other'] })).toBe('4.04');
  });

  it('must prove its address once it has a transaction open, and no forged M1 keeps it out', async () => {
    const controller = endpointOf(running.controllerAddress);
    const node = await orderedNode();
    const forger = await peer.RawSocket.open();
    try {
      for (let i = 0; i < 8; i++) {
        const answer = await forger.request(controller, { payload: peer.m1(node.id, randomBytes(16)) });
        expect(answer?.code).toBe(i === 0 ? '2.04' : '4.01');
        expect(peer.option(answer!, 252) !== undefined).toBe(i > 0);
      }
    } finally {
      await forger.close();
    }
    await node.join(controller);
    expect(await showNode(running.network, formatId(node.id))).toMatchObject({ state: 'joined' });
  });
});

describe('a foreign controller', () => {
  let planned: PlannedNetwork;
  let authServer: DaemonProcess;
  beforeEach(async () => {
    planned = await planNetwork();
    authServer = await planned.network.startAuthServer(planned.serverAddress);
  });
  afterEach(() => planned.network.remove());

  it('commits; a repeated M7 gets the stored lifetime sealed anew, also after a restart of the server', async () => {
    const { network, serverAddress } = planned;
    const { lines } = await network.order({ controller: CONTROLLER, count: 1, lifetime: '12h' });
    const controller = new peer.PeerController(socket, { ...(await credentialOf(network)), server: endpointOf(serverAddress) });
    const m1 = peer.m1(lines[0]!.idI, randomBytes(16));
    const answered = await controller.transact(m1);
    expect(answered.k).toEqual(octetsOf(lines[0]!.ik));
    const m5 = peer.m5(answered.psk!, answered);
    const proved = controller.m7For(answered, m5, peer.nid(socket));
    const committed = await controller.commit(proved);
    expect(committed.lifetime).toBe(43_200);
    const repeated = await controller.ask(proved.m7, socket.fresh());
    expect(repeated?.code).toBe('2.04');
    expect(repeated?.payload).not.toEqual(committed.m8);
    expect(peer.openM8(controller.skCs, proved.m7, repeated!.payload)).toEqual({ idI: lines[0]!.idI, lifetime: 43_200 });

    await authServer.stop('SIGKILL');
    authServer = await network.startAuthServer(serverAddress);
    expect((await controller.commit(proved)).lifetime).toBe(43_200);
    expect(authServer.lines.filter(({ msg }) => msg === 'node has a new key')).toHaveLength(0);
  });

  it('commits nothing with a wrong proof, a wrong tag or a stale time stamp', async () => {
    const { network, serverAddress } = planned;
    const { lines } = await network.order({ controller: CONTROLLER, count: 1 });
    const id = formatId(lines[0]!.idI);
    const controller = new peer.PeerController(socket, { ...(await credentialOf(network)), server: endpointOf(serverAddress) });
    const m1 = peer.m1(lines[0]!.idI, randomBytes(16));
    const answered = await controller.transact(m1);
    const m5 = peer.m5(answered.psk!, answered);
    const wrongM5 = Buffer.from(m5);
    wrongM5[20]! ^= 0x80;
    const refused = (reason: number) => expect.objectContaining({ reason });
    await expect(controller.commit(controller.m7For(answered, wrongM5, peer.nid(socket)))).rejects.toEqual(refused(7));
    const late = BigInt(Date.now() - 91_000);
    // Far ahead: the server reads its clock later than this test does.
    const early = (): bigint => BigInt(Date.now() + 600_000);
    await expect(controller.commit(controller.m7For(answered, m5, peer.nid(socket), { ts: late }))).rejects.toEqual(refused(6));
    await expect(controller.transact(m1, { ts: early() })).rejects.toEqual(refused(6));
    await authServer.waitFor(
      ({ msg, level }) => level === 'warn' && msg.includes("the controller's clock and the auth-server's differ"),
    );
    await expect(controller.transact(peer.m1(0x0bad_cafe, randomBytes(16)))).rejects.toEqual(refused(1));
    const proved = controller.m7For(answered, m5, peer.nid(socket));
    for (const at of [0, 1, 5, 13, 26, proved.m7.length - 1]) {
      const wrong = Buffer.from(proved.m7);
      wrong[at]! ^= 0x01;
      const answer = await controller.ask(wrong);
      expect(answer?.code).toMatch(/^4\.0[01]$/);
      expect(answer?.payload).toHaveLength(0);
    }
    expect(await showNode(network, id)).toMatchObject({ state: 'enrolled', key_is_initial: true });
    expect((await controller.commit(proved)).lifetime).toBe(2_592_000);
  });

  it('serves our node; wrong M4 and M6 are ignored when the right ones come after', async () => {
    const { network, serverAddress } = planned;
    const { id, state } = await orderAndInstall(network);
    const flipped = (octets: Buffer): Buffer => {
      const wrong = Buffer.from(octets);
      wrong[wrong.length - 1]! ^= 0x01;
      return wrong;
    };
    const controller = new peer.PeerController(socket, { ...(await credentialOf(network)), server: endpointOf(serverAddress) });
    const served = await controller.serve(endpointOf(planned.controllerAddress).port, {
      mutateM4: (m4) => [flipped(m4), flipped(m4), m4],
      mutateM6: (m6) => [flipped(m6), { type: 'NON', payload: Buffer.of(0x16) }, m6],
    });
    try {
      await network.run('node-agent', ['join', '--state', state]);
      expect(await showStatus(network, state)).toMatchObject({ status: 'joined', key: (await showNode(network, id))['key'] });
    } finally {
      await served.close();
    }
  });

  it('serves our node as a pass-through one, and gets its application root', async () => {
    const { network, serverAddress } = planned;
    await network.run('auth-server', ['controller', 'set', CONTROLLER, '--pass-through', 'on', '--data', network.registry]);
    const { id, state } = await orderAndInstall(network);
    const controller = new peer.PeerController(socket, { ...(await credentialOf(network)), server: endpointOf(serverAddress) });
    const served = await controller.serve(endpointOf(planned.controllerAddress).port);
    try {
      for (const _ of ['joins', 'renews']) await network.run('node-agent', ['join', '--state', state]);
      expect(await showStatus(network, state)).toMatchObject({ status: 'joined', key: (await showNode(network, id))['key'] });
      const registry = await network.openRegistry();
      const { idI, key } = (await registry.node(Number.parseInt(id, 16)))!;
      await registry.close();
      expect(controller.roots.get(idI)).toEqual(peer.applicationRoot(octetsOf(key), idI));
      expect(controller.psks.size).toBe(0);
    } finally {
      await served.close();
    }
  });

  it('cannot make our node drop its key with a bare 2.04, and the node finds its way back', async () => {
    const { network, serverAddress } = planned;
    const { id, state } = await orderAndInstall(network);
    const controller = new peer.PeerController(socket, { ...(await credentialOf(network)), server: endpointOf(serverAddress) });
    const served = await controller.serve(endpointOf(planned.controllerAddress).port, {
      mutateM6: () => [{ payload: Buffer.alloc(0) }],
    });
    const failed = await network.try('node-agent', ['join', '--state', state]);
    expect(failed.code).toBe(1);
    expect(await showStatus(network, state)).toMatchObject({ status: 'unconfirmed', open_candidates: 1, key_is_initial: true });
    await served.close();
    // The server has committed: the initial key is gone there, the candidate is what opens M4.
    await network.startController(CONTROLLER, planned.controllerAddress);
    await network.run('node-agent', ['join', '--state', state]);
    expect(await showStatus(network, state)).toMatchObject({
      status: 'joined',
      open_candidates: 0,
      key: (await showNode(network, id))['key'],
    });
  });
});

describe('a foreign auth-server', () => {
  let planned: PlannedNetwork;
  beforeEach(async () => {
    planned = await planNetwork();
    await planned.network.startController(CONTROLLER, planned.controllerAddress);
  });
  afterEach(() => planned.network.remove());

  it('serves our controller and node; answers that do not open are no answers', async () => {
    const { network } = planned;
    const { state, order } = await orderAndInstall(network);
    const { idI, ik } = order.lines[0]!;
    const credential = await credentialOf(network);
    const server = new peer.PeerServer(
      new Map([[idI, { key: octetsOf(ik), controllerId: ID_C, lifetime: 60 }]]),
      new Map([[ID_C, credential.skCs]]),
    );
    let wrongs = 0;
    const wrongFirst = (octets: Buffer): peer.Replies => {
      wrongs += 1;
      const wrong = Buffer.from(octets);
      wrong[20]! ^= 0x01;
      return [{ code: '4.03', payload: wrong }, { code: '4.03', payload: Buffer.alloc(0) }, { payload: octets }];
    };
    const served = await server.serve(endpointOf(planned.serverAddress).port, { mutateM3: wrongFirst, mutateM8: wrongFirst });
    try {
      await network.run('node-agent', ['join', '--state', state]);
      // A busy machine retransmits: an M2 or M7 may come twice.
      expect(wrongs).toBe(server.seen.length);
      expect(await showStatus(network, state)).toMatchObject({ status: 'joined', lifetime_seconds: 60 });
      expect([...new Set(server.seen.map(({ type }) => type))]).toEqual([2, 7]);
      expect(server.registry.get(idI)?.key).not.toEqual(octetsOf(ik));
      // Its key feed confirms the key, and takes it back.
      const atController = ['--state', network.path(`controller-${CONTROLLER}`)];
      const key = ['key', formatId(idI), ...atController, '--label', 'test'];
      const sync = ['sync', ...atController];
      expect(await network.run('controller', sync)).toBe('the registry has confirmed the key of 1 node\n');
      expect(await network.run('controller', key)).toMatch(/^[0-9a-f]{32}\n$/);
      server.registry.get(idI)!.disabled = true;
      await network.run('controller', sync);
      expect(await network.try('controller', key)).toMatchObject({
        code: 1,
        stderr: expect.stringContaining('is disabled') as string,
      });
    } finally {
      await served.close();
    }
  });

  it('makes M4 and M6 itself for our controller, which passes them through', async () => {
    const { network } = planned;
    const { state, order } = await orderAndInstall(network);
    const { idI, ik } = order.lines[0]!;
    const server = new peer.PeerServer(
      new Map([[idI, { key: octetsOf(ik), controllerId: ID_C, lifetime: 60 }]]),
      new Map([[ID_C, (await credentialOf(network)).skCs]]),
    );
    server.transactionKey = randomBytes(16);
    const served = await server.serve(endpointOf(planned.serverAddress).port);
    try {
      for (const _ of ['joins', 'renews']) await network.run('node-agent', ['join', '--state', state]);
      expect(await showStatus(network, state)).toMatchObject({ status: 'joined', lifetime_seconds: 60 });
      expect(server.seen.map(({ type }) => type)).toEqual([2, 7, 2, 7]);
    } finally {
      await served.close();
    }
  });

  it('that loses the first M2 and M7 gets the same octets again', async () => {
    const { network } = planned;
    const { state, order } = await orderAndInstall(network);
    const { idI, ik } = order.lines[0]!;
    const credential = await credentialOf(network);
    const server = new peer.PeerServer(
      new Map([[idI, { key: octetsOf(ik), controllerId: ID_C, lifetime: 0 }]]),
      new Map([[ID_C, credential.skCs]]),
    );
    const lost = new Set<number>();
    const served = await server.serve(endpointOf(planned.serverAddress).port, {
      drop: (octets) => lost.size < lost.add(octets[0]!).size,
    });
    try {
      await network.run('node-agent', ['join', '--state', state]);
      for (const type of [2, 7]) {
        const copies = server.seen.filter((message) => message.type === type).map(({ octets }) => octets.toString('hex'));
        expect([copies.length > 1, new Set(copies).size]).toEqual([true, 1]);
      }
      expect(await showStatus(network, state)).toMatchObject({ status: 'joined', lifetime_seconds: 0, renewal_due_at: null });
    } finally {
      await served.close();
    }
  });
});

it('a node whose key another network holds is told so within seconds', async () => {
  const { network, controllerAddress } = running;
  const { id } = await orderAndInstall(network);
  const state = network.node(`stranger-${id}`);
  await network.run(
    'node-agent',
    ['install', '--state', state, '--id', id, '--controller', controllerAddress, '--ik-file', '-'],
    IK.toString('hex'),
  );
  const failed = await network.try('node-agent', ['join', '--state', state]);
  expect(failed.code).toBe(1);
  expect(failed.stderr).toContain('none opens under its initial key');
  expect(failed.stderr).not.toContain(IK.toString('hex'));
});

it('DaemonProcess tells when a daemon ends instead of waiting for ever', async () => {
  const daemon = new DaemonProcess('controller', [
    'run',
    '--credential',
    '/nowhere',
    '--state',
    running.network.path('x'),
    '--listen',
    await freePort(),
  ]);
  await expect(daemon.listening()).rejects.toThrow('ended');
  expect(await daemon.ended()).toBe(2);
});
