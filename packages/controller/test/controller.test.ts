// Proves the controller on a real registry and a real key store: a node joins, copies wait for one
// question, refusals say what they may.

import { type LinkDecision, deriveApplicationRoot, deriveKeyId, sealM9, Secret } from '@latchkey/protocol';
import { Failure } from '@latchkey/runtime/failure';
import { describe, expect, it } from 'vitest';
import { resetNode } from '@latchkey/operations';
import type { AcceptAnswer, AuthServerClient } from '../src/auth-server-client.js';
import { ID_I, Network, newApplicationRootStore, newSecret, TestNode } from './fixtures.js';

/** A client that counts the questions and lets them through once it is opened. */
class GatedClient implements AuthServerClient {
  readonly requests: Uint8Array[] = [];
  readonly #local: AuthServerClient;
  readonly #gate: Promise<void>;
  open: () => void = () => undefined;

  constructor(local: AuthServerClient) {
    this.#local = local;
    this.#gate = new Promise((resolve) => (this.open = resolve));
  }

  async request(request: Uint8Array, accept: AcceptAnswer): Promise<LinkDecision | undefined> {
    this.requests.push(request);
    await this.#gate;
    return this.#local.request(request, accept);
  }

  close(): Promise<void> {
    return this.#local.close();
  }
}

async function gatedNetwork(): Promise<{ network: Network; client: GatedClient }> {
  let client: GatedClient | undefined;
  const network = await Network.create({ authServer: (local) => (client = new GatedClient(local)) });
  return { network, client: client! };
}

const silent: AuthServerClient = { request: () => Promise.resolve(undefined), close: () => Promise.resolve() };

describe('a node', () => {
  it('joins: node and registry have the same new key, and the controller stores what applications get from it', async () => {
    const network = await Network.create();
    const node = new TestNode(network.ik);
    expect(await node.join(network)).toBe(3_600);
    const psk = node.state.confirmed.toHex();
    expect(psk).not.toBe(network.ik.toHex());
    expect((await network.registry.node(ID_I))?.key.toHex()).toBe(psk);
    await network.controller.stop();
    const stored = network.applicationRoots.get(ID_I)!;
    const root = deriveApplicationRoot(node.state.confirmed, ID_I);
    const keyId = deriveKeyId(root, ID_I);
    const expiresAt = network.now.wallMs + 3_600_000;
    expect(stored).toMatchObject({ state: 'current', current: { keyId, joinedAt: network.now.wallMs, expiresAt } });
    expect(stored.current?.applicationRoot.toHex()).toBe(root.toHex());
    expect(network.log.withMessage('node joined')).toMatchObject([{ node: '0000a1b2', keyId }]);
  });

  it('has its key wiped in the controller once that is stored, and once it could not be', async () => {
    for (const fails of [false, true]) {
      const applicationRoots = await newApplicationRootStore();
      const network = await Network.create({ applicationRoots });
      const put = applicationRoots.put.bind(applicationRoots);
      const taken: Secret[] = [];
      applicationRoots.put = (joined) => {
        taken.push(joined.applicationRoot);
        return fails ? Promise.reject(new Failure('the key store is full')) : put(joined);
      };
      await new TestNode(network.ik).join(network);
      await network.controller.stop();
      expect(taken.map(String)).toEqual(['[secret wiped]']);
    }
  });

  it('is vouched for once, with its M1, however many copies of M5 come', async () => {
    const network = await Network.create();
    const node = new TestNode(network.ik);
    const m5 = await node.prepareM5(network);
    expect(network.confirmedLegitimate).toEqual([]);
    const copies = await Promise.all(Array.from({ length: 3 }, () => network.ask(m5)));
    expect(new Set(copies.map((copy) => copy !== 'challenge' && copy.code))).toEqual(new Set(['2.04']));
    await network.ask(m5);
    expect(network.confirmedLegitimate).toEqual([1]);
  });

  it('that proved its address for M1 took nothing with it', async () => {
    const network = await Network.create();
    const m5 = await new TestNode(network.ik).prepareM5(network, { addressValidated: true });
    await network.ask(m5);
    expect(network.confirmedLegitimate).toEqual([0]);
  });

  it('joins again and again, each time under the key of before', async () => {
    const network = await Network.create();
    const node = new TestNode(network.ik);
    const keys = new Set<string>();
    for (let i = 0; i < 5; i++) {
      await node.join(network);
      keys.add(node.state.confirmed.toHex());
      expect((await network.registry.node(ID_I))?.key.toHex()).toBe(node.state.confirmed.toHex());
    }
    expect(keys.size).toBe(5);
    await network.controller.stop();
    expect(network.applicationRoots.get(ID_I)?.current?.applicationRoot.toHex()).toBe(
      deriveApplicationRoot(node.state.confirmed, ID_I).toHex(),
    );
  });

  it('is known to the registry by where its first right M5 came from', async () => {
    const network = await Network.create();
    const node = new TestNode(network.ik);
    const m1 = node.begin();
    const m5 = node.takeM4(m1, await network.ask(m1.m1, { address: '192.0.2.7' }));
    const elsewhere = Buffer.from('20010db8000000000000000000000009'.padEnd(32, '0') + '1633', 'hex');
    node.takeM6(m5, await network.ask(m5.m5, { address: '2001:db8::9', port: 5683 }));
    await network.ask(m5.m5, { address: '192.0.2.66' });
    expect(Buffer.from((await network.registry.node(ID_I))!.committed!.nidI)).toEqual(elsewhere);
  });

  it('joins although the controller cannot keep its key, and the log says so', async () => {
    const applicationRoots = await newApplicationRootStore();
    const network = await Network.create({ applicationRoots });
    // A key store that takes no writes: its own failure, not a stand-in's.
    applicationRoots.put = () => Promise.reject(new Failure('the key store is full'));
    const node = new TestNode(network.ik);
    expect(await node.join(network)).toBe(3_600);
    await network.controller.stop();
    expect(network.log.withMessage('the key store is full; the node joined all the same')).toMatchObject([
      { level: 'error', node: '0000a1b2' },
    ]);
  });
});

describe('copies', () => {
  it('of M1 wait for one question and get one M4, octet for octet, also later', async () => {
    const { network, client } = await gatedNetwork();
    const { m1 } = new TestNode(network.ik).begin();
    const waiting = Array.from({ length: 5 }, (_, i) => network.ask(m1, { port: 40_000 + i }));
    client.open();
    const answers = await Promise.all(waiting);
    const later = await network.ask(m1, { address: '192.0.2.99' });
    expect(new Set([...answers, later].map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(answers[0]).toMatchObject({ code: '2.04' });
    expect(client.requests).toHaveLength(1);
  });

  it('of M5 wait for one question and get one M6, octet for octet, also later', async () => {
    const { network, client } = await gatedNetwork();
    client.open();
    const node = new TestNode(network.ik);
    const m1 = node.begin();
    const m5 = node.takeM4(m1, await network.ask(m1.m1));
    const answers = await Promise.all(Array.from({ length: 5 }, () => network.ask(m5.m5)));
    const later = await network.ask(m5.m5);
    expect(new Set([...answers, later].map((answer) => JSON.stringify(answer))).size).toBe(1);
    expect(node.takeM6(m5, later)).toBe(3_600);
    expect(client.requests).toHaveLength(2);
    expect(network.log.withMessage('node joined')).toHaveLength(1);
  });

  it('of M1 after one that nobody answered ask anew, with the same M2', async () => {
    const asked: Uint8Array[] = [];
    const network = await Network.create({
      authServer: (local) => ({
        request: (request, accept) => (asked.push(request) === 1 ? Promise.resolve(undefined) : local.request(request, accept)),
        close: () => local.close(),
      }),
    });
    const { m1 } = new TestNode(network.ik).begin();
    expect(await network.ask(m1)).toMatchObject({ code: '5.04' });
    expect(await network.ask(m1)).toMatchObject({ code: '2.04' });
    expect(asked[1]).toEqual(asked[0]);
  });

  it('of M5 after one that nobody answered ask anew, with the same M7, and the node joins', async () => {
    const asked: Uint8Array[] = [];
    const network = await Network.create({
      authServer: (local) => ({
        // The first M7 reaches the server; its M8 is lost.
        request: (request, accept) =>
          asked.push(request) === 2 ? local.request(request, () => ({ kind: 'ignored' })) : local.request(request, accept),
        close: () => local.close(),
      }),
    });
    const node = new TestNode(network.ik);
    const m1 = node.begin();
    const m5 = node.takeM4(m1, await network.ask(m1.m1));
    expect(await network.ask(m5.m5)).toMatchObject({ code: '5.04' });
    expect((await network.registry.node(ID_I))?.initial).toBe(false);
    expect(node.takeM6(m5, await network.ask(m5.m5))).toBe(3_600);
    expect(asked[2]).toEqual(asked[1]);
  });
});

describe('a node is refused', () => {
  it.each([
    ['unknown', { idI: 0xbeef }, '4.03'],
    ['of another controller', { controller: 2 }, '4.03'],
    ['disabled', { disabled: true }, '4.03'],
    ['outside its join window', { joinUntil: 1 }, '4.03'],
  ])('that is %s with 4.03 and nothing else', async (_, node, code) => {
    const network = await Network.create({ node });
    const answer = await network.ask(new TestNode(network.ik).begin().m1);
    expect(answer).toEqual({ code, maxAge: undefined });
  });

  it('with another key: its M4 does not open, and an M5 of its own making gets 4.01', async () => {
    const network = await Network.create();
    const wrong = new TestNode(newSecret());
    const m1 = wrong.begin();
    const answer = await network.ask(m1.m1);
    expect(() => wrong.takeM4(m1, answer)).toThrow('does not open');
    const m5 = Uint8Array.of(0x15, 0, 0, 0, 0, 0, 0, 0, 1, ...new Uint8Array(24));
    expect(await network.ask(m5)).toEqual({ code: '4.01', maxAge: undefined });
    expect((await network.registry.node(ID_I))?.initial).toBe(true);
  });

  it('whose clocks differ from its server by more than 30 s with 5.03', async () => {
    const network = await Network.create({
      authServer: (local) => ({
        async request(request, accept) {
          network.now.wallMs += 31_000;
          return local.request(request, accept);
        },
        close: () => local.close(),
      }),
    });
    expect(await network.ask(new TestNode(network.ik).begin().m1)).toMatchObject({ code: '5.03' });
  });

  it('whose server’s clock was set back with 5.03, and its log does not blame the load', async () => {
    const network = await Network.create();
    network.now.wallMs -= 10_000;
    expect(await network.ask(await new TestNode(network.ik).prepareM5(network))).toEqual({ code: '5.03', maxAge: 10 });
    expect(network.log.text).toMatch(/"refused: the auth-server commits nothing now: [^"]* its clock was set back/);
    expect(network.log.text).not.toContain('bounds on work');
  });

  it('that was reset to the initial key it had with 5.03 for as long as its server says, and then joins', async () => {
    const network = await Network.create();
    await new TestNode(network.ik).join(network);
    await resetNode(network.registry, ID_I, network.ik);
    const pass = (ms: number): void => {
      network.now.wallMs += ms;
      network.now.monotonicMs += ms;
    };
    pass(4_500);
    const node = new TestNode(network.ik);
    expect(await network.ask(node.begin().m1)).toEqual({ code: '5.03', maxAge: 31 });
    expect(network.log.text).toContain('the node was just given an initial key again');
    pass(31_000);
    // A transaction of this node is open: it is asked to prove its address.
    const m1 = node.begin();
    const m5 = node.takeM4(m1, await network.ask(m1.m1, { addressValidated: true }));
    expect(node.takeM6(m5, await network.ask(m5.m5, { addressValidated: true }))).toBe(3_600);
  });

  it.each([
    [8, 7, 7],
    [9, 31, 31],
    [9, 4_000_000_000, 600],
    [8, undefined, 10],
    [9, undefined, 30],
    [3, 31, undefined],
  ])('for reason %i under a Max-Age of %s with one of %s', async (reason, maxAge, told) => {
    const network = await Network.create({
      authServer: () => ({
        request: (request, accept) => {
          const m9 = sealM9({ reason, idI: ID_I }, new Uint8Array(13), request, network.skCs);
          return Promise.resolve(accept(m9, maxAge));
        },
        close: () => Promise.resolve(),
      }),
    });
    expect(await network.ask(new TestNode(network.ik).begin().m1)).toMatchObject({ maxAge: told });
  });

  it('with 5.04 where no server answers, and with 5.03 where no TID can be had', async () => {
    const dumb = await Network.create({ authServer: () => silent });
    expect(await dumb.ask(new TestNode(dumb.ik).begin().m1)).toMatchObject({ code: '5.04' });
    const spent = await Network.create({ nextTid: () => undefined });
    expect(await spent.ask(new TestNode(spent.ik).begin().m1)).toEqual({ code: '5.03', maxAge: 10 });
  });

  it('with 4.04 for an M5 of no transaction, of one still asking, and of one 60 s old', async () => {
    const { network, client } = await gatedNetwork();
    const m5 = (tid: number): Uint8Array => Uint8Array.of(0x15, 0, 0, 0, 0, 0, 0, 0, tid, ...new Uint8Array(24));
    expect(await network.ask(m5(1))).toMatchObject({ code: '4.04' });
    const node = new TestNode(network.ik);
    const m1 = node.begin();
    const asking = network.ask(m1.m1);
    expect(await network.ask(m5(1))).toMatchObject({ code: '4.04' });
    client.open();
    const attempt = node.takeM4(m1, await asking);
    network.now.monotonicMs += 60_000;
    expect(await network.ask(attempt.m5)).toMatchObject({ code: '4.04' });
    expect((await network.registry.node(ID_I))?.initial).toBe(true);
  });

  it.each([
    ['nothing', ''],
    ['an M1 one octet short', '11'.padEnd(40, '0')],
    ['an M1 one octet long', '11'.padEnd(44, '0')],
    ['an M5 one octet short', '15'.padEnd(64, '0')],
    ['an M2', '12'.padEnd(158, '0')],
    ['an M4', '14'.padEnd(106, '0')],
    ['another profile', '21'.padEnd(42, '0')],
  ])('with 4.00 for %s', async (_, hex) => {
    const network = await Network.create();
    expect(await network.ask(Buffer.from(hex, 'hex'))).toMatchObject({ code: '4.00' });
  });

  it('that has a transaction open until its new one comes from an address it proves', async () => {
    const network = await Network.create();
    const node = new TestNode(network.ik);
    await network.ask(node.begin().m1, { address: '192.0.2.66' });
    const m1 = node.begin();
    expect(await network.ask(m1.m1)).toBe('challenge');
    const m5 = node.takeM4(m1, await network.ask(m1.m1, { addressValidated: true }));
    expect(node.takeM6(m5, await network.ask(m5.m5))).toBe(3_600);
  });
});

describe('an answer that is none of the server’s', () => {
  it('is not taken, and the question stays open', async () => {
    const judged: LinkDecision[] = [];
    const network = await Network.create({
      authServer: (local) => ({
        async request(request, accept) {
          const forged = [
            new Uint8Array(0),
            new Uint8Array(42).fill(0x13),
            new Uint8Array(30).fill(0x18),
            new Uint8Array(27).fill(0x19),
          ];
          judged.push(...forged.map(accept));
          return local.request(request, accept);
        },
        close: () => local.close(),
      }),
    });
    expect(await new TestNode(network.ik).join(network)).toBe(3_600);
    expect(judged).toEqual(Array.from({ length: 8 }, () => ({ kind: 'ignored' })));
  });

  it('sealed for another transaction is not taken', async () => {
    const answers: Uint8Array[] = [];
    const kinds: string[] = [];
    const network = await Network.create({
      authServer: (local) => ({
        request: (request, accept) =>
          local.request(request, (octets) => {
            kinds.push(...answers.map((other) => accept(other).kind));
            answers.push(octets);
            return accept(octets);
          }),
        close: () => local.close(),
      }),
    });
    const node = new TestNode(network.ik);
    await node.join(network);
    await node.join(network);
    expect(kinds).toEqual(Array.from({ length: 6 }, () => 'ignored'));
  });
});

describe('the log', () => {
  it('has no key of anybody, whatever happens', async () => {
    const network = await Network.create();
    const node = new TestNode(Secret.from(network.ik.expose()));
    const keys = [network.ik.toHex(), network.skCs.toHex()];
    for (let i = 0; i < 2; i++) {
      await node.join(network);
      keys.push(node.state.confirmed.toHex());
    }
    await network.ask(new TestNode(newSecret(), 0xbeef).begin().m1);
    await network.ask(new Uint8Array(33).fill(0x15));
    expect(network.log.withMessage('node joined')).toHaveLength(2);
    for (const key of keys) {
      expect(network.log.text.toLowerCase()).not.toContain(key.slice(0, 8));
      expect(network.log.text).not.toContain(Buffer.from(key, 'hex').toString('base64').slice(0, 8));
    }
  });
});
