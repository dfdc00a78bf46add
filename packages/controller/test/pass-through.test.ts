// Proves the controller as a pass-through controller, on a real registry and a real store: nodes
// join as ever, the right M5 gets through beside forged ones, and nothing that the controller has
// opens a message of theirs.

import { deriveApplicationRoot, encodeM5, type LinkDecision, type Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { setController } from '@latchkey/operations';
import type { AcceptAnswer, AuthServerClient } from '../src/auth-server-client.js';
import { ID_I, Network, TestNode } from './fixtures.js';

/** Holds each M7 back until it is let go, and keeps what the auth-server answered. */
class Gate implements AuthServerClient {
  readonly #local: AuthServerClient;
  readonly answers: Uint8Array[] = [];
  readonly held: (() => void)[] = [];
  requests = 0;
  isOpen = true;

  constructor(local: AuthServerClient) {
    this.#local = local;
  }

  async request(request: Uint8Array, accept: AcceptAnswer): Promise<LinkDecision | undefined> {
    this.requests += 1;
    if (!this.isOpen && request[0] === 0x17) await new Promise<void>((resolve) => this.held.push(resolve));
    return this.#local.request(request, (octets, maxAge) => {
      this.answers.push(Uint8Array.from(octets));
      return accept(octets, maxAge);
    });
  }

  /** Lets one M7 go, as soon as one is held. */
  async release(): Promise<void> {
    await vi.waitUntil(() => this.held.length > 0, { timeout: 30_000 });
    this.held.shift()!();
  }

  close(): Promise<void> {
    return this.#local.close();
  }
}

let network: Network;
let gate: Gate;
let node: TestNode;

beforeEach(async () => {
  let made: Gate | undefined;
  network = await Network.create({ authServer: (local) => (made = new Gate(local)) });
  gate = made!;
  await setController(network.registry, 1, { passThrough: true });
  // Soon after a switch a wrong proof is nobody's fault.
  network.now.wallMs += 151_000;
  network.now.monotonicMs += 151_000;
  node = new TestNode(network.ik);
});

function code(answer: Awaited<ReturnType<Network['ask']>>): string {
  return answer === 'challenge' ? answer : answer.code;
}

/** An M5 for the same transaction as `m5`, which no key opens. */
function forged(m5: Uint8Array, n: number): Uint8Array {
  const c5 = new Uint8Array(24);
  new DataView(c5.buffer).setUint32(0, n);
  return encodeM5({ tid: new DataView(m5.buffer, m5.byteOffset).getBigUint64(1), c5 });
}

describe('through a pass-through controller', () => {
  it('a node joins and renews, and the controller stores its application root', async () => {
    const keys: Secret[] = [network.ik];
    for (let i = 0; i < 3; i++) {
      expect(await node.join(network)).toBe(3_600);
      keys.push(node.state.confirmed);
      expect((await network.registry.node(ID_I))?.key.toHex()).toBe(node.state.confirmed.toHex());
    }
    await network.controller.stop();
    const root = deriveApplicationRoot(node.state.confirmed, ID_I);
    expect(network.applicationRoots.get(ID_I)?.current?.applicationRoot.toHex()).toBe(root.toHex());
    expect(gate.answers.map((octets) => octets[0])).toEqual([0x1a, 0x1b, 0x1a, 0x1b, 0x1a, 0x1b]);
    expect(network.log.withMessage('node joined')).toHaveLength(3);
  });

  it('a node joins across each switch', async () => {
    for (const passThrough of [false, true, false]) {
      await setController(network.registry, 1, { passThrough });
      expect(await node.join(network)).toBe(3_600);
    }
    expect(gate.answers.map((octets) => octets[0])).toEqual([0x13, 0x18, 0x1a, 0x1b, 0x13, 0x18]);
  });

  it('copies of an M5 share one M7 and get one M6, also later', async () => {
    const m5 = await node.prepareM5(network);
    const asked = gate.requests;
    const copies = await Promise.all(['192.0.2.7', '192.0.2.8', '192.0.2.9'].map((address) => network.ask(m5, { address })));
    const later = await network.ask(m5);
    expect(new Set([...copies, later].map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect([code(later), gate.requests - asked]).toEqual(['2.04', 1]);
    expect(network.confirmedLegitimate).toEqual([1]);
  });

  it('the right M5 gets through while forged ones wait before it and come after it', async () => {
    const m5 = await node.prepareM5(network, { addressValidated: true });
    gate.isOpen = false;
    const before = Array.from({ length: 20 }, (_, n) =>
      network.ask(forged(m5, n), { address: `198.51.100.${n}`, addressValidated: true }),
    );
    const right = network.ask(m5, { addressValidated: true });
    const after = Array.from({ length: 20 }, (_, n) =>
      network.ask(forged(m5, 100 + n), { address: `203.0.113.${n}`, addressValidated: true }),
    );
    // The one that is under way, then that of the node.
    await gate.release();
    await gate.release();
    expect(code(await right)).toBe('2.04');
    const codes = (await Promise.all([...before, ...after])).map(code);
    expect(new Set(codes)).toEqual(new Set(['4.01', '5.03']));
    expect(gate.held).toEqual([]);
    expect((await network.registry.node(ID_I))?.initial).toBe(false);
  });

  it('a forged M5 from the node’s own address without proof does not keep it out', async () => {
    const m5 = await node.prepareM5(network);
    for (const n of [1, 2]) expect(code(await network.ask(forged(m5, n)))).toBe('4.01');
    expect(await network.ask(m5)).toBe('challenge');
    expect(code(await network.ask(m5, { addressValidated: true }))).toBe('2.04');
  });

  it('an M5 that the auth-server does not answer is answered with 5.04, and is relayed again when it comes again', async () => {
    const m5 = await node.prepareM5(network);
    const answer = gate.request.bind(gate);
    gate.request = () => Promise.resolve(undefined);
    expect(code(await network.ask(m5))).toBe('5.04');
    gate.request = answer;
    expect(code(await network.ask(m5, { addressValidated: true }))).toBe('2.04');
  });

  it('a transaction whose life is over answers those who wait', async () => {
    const m5 = await node.prepareM5(network, { addressValidated: true });
    gate.isOpen = false;
    const first = network.ask(forged(m5, 1), { address: '198.51.100.1', addressValidated: true });
    const second = network.ask(m5, { addressValidated: true });
    network.now.monotonicMs += 60_000;
    network.now.wallMs += 60_000;
    await network.ask(new TestNode(network.ik, 7).begin().m1);
    expect(code(await second)).toBe('5.03');
    await gate.release();
    expect(code(await first)).toBe('5.03');
  });
});
