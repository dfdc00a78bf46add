// Proves in which state a node is said to be, to the millisecond, which nodes a filter finds, and
// that no view of one holds its key.

import { allOf } from '@latchkey/registry';
import type { Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it } from 'vitest';
import { moveNodes, resetNode, setDisabled, setKeyLifetime } from '../src/administration.js';
import { NODE_STATES } from '../src/contract/nodes.js';
import { countNodes, countNodesBy, nodePage, type NodeQuery, queryNodes } from '../src/node-query.js';
import { nodeState } from '@latchkey/registry';
import { viewNode } from '../src/node-view.js';
import type { Registry } from '@latchkey/registry';
import { C1, C2, newSecret, AdminFixture } from '@latchkey/test-support/admin-fixture';

let fixture: AdminFixture;
let registry: Registry;
let ik: Secret;
let start: number;

beforeEach(async () => {
  fixture = await AdminFixture.open();
  ({ registry } = fixture);
  ik = newSecret();
  // 1,000 s, so that 880 s is when a renewal is due.
  await fixture.order({ 1: ik }, { lifetime: 1_000, grace: 10 });
  start = Date.now();
});

async function state(at: number, idI = 1): Promise<string> {
  return nodeState((await registry.node(idI))!, at);
}

describe('the state of a node', () => {
  it('is enrolled until it joins, whenever one looks', async () => {
    expect([await state(0), await state(start), await state(start + 1e12)]).toEqual(['enrolled', 'enrolled', 'enrolled']);
  });

  it('is joined, expiring and expired, at the profile’s boundaries', async () => {
    await fixture.join(1, ik, { wall: start });
    const due = start + 880_000;
    const expiry = start + 1_000_000;
    const times = [start, due, due + 1, expiry, expiry + 1, expiry + 1e12];
    expect(await Promise.all(times.map((at) => state(at)))).toEqual([
      'joined',
      'joined',
      'expiring',
      'expiring',
      'expired',
      'expired',
    ]);
  });

  it('counts from the time stamp of the controller, not from the server’s clock', async () => {
    await fixture.testServer(async (server) => {
      expect(await server.request(server.exchange(1, ik, { ts: start - 80_000 }), 'm7')).toBe('M8');
    }, start);
    expect([await state(start + 920_000), await state(start + 920_001)]).toEqual(['expiring', 'expired']);
  });

  it('is joined for good where the key does not expire', async () => {
    const other = newSecret();
    await fixture.order({ 2: other }, { lifetime: 0 });
    await fixture.join(2, other);
    expect(await state(start + 1e12, 2)).toBe('joined');
  });

  it('is disabled, whatever else it is, and what it was before when it is enabled', async () => {
    await setDisabled(registry, [1], true);
    expect(await state(start)).toBe('disabled');
    await setDisabled(registry, [1], false);
    await fixture.join(1, ik, { wall: start });
    await setDisabled(registry, [1], true);
    expect([await state(start), await state(start + 1e12)]).toEqual(['disabled', 'disabled']);
    await setDisabled(registry, [1], false);
    expect([await state(start), await state(start + 1e12)]).toEqual(['joined', 'expired']);
  });

  it('is that of the key it has, not of the lifetime it will get', async () => {
    await fixture.join(1, ik, { wall: start });
    await setKeyLifetime(registry, [1], { lifetime: 5 });
    expect(await state(start + 800_000)).toBe('joined');
  });

  it('is enrolled again when it is reset', async () => {
    await fixture.join(1, ik, { wall: start });
    await resetNode(registry, 1, newSecret());
    expect(await state(start + 1e12)).toBe('enrolled');
  });
});

describe('a view', () => {
  it('tells all but the key', async () => {
    const psk = await fixture.join(1, ik, { wall: start });
    const renewed = await fixture.join(1, psk, { wall: start + 5_000 });
    const node = (await registry.node(1))!;
    const view = viewNode(node, start + 5_000);
    expect(view).toEqual({
      id: '00000001',
      state: 'joined',
      controller: '00000001',
      order: 1,
      key: renewed.fingerprint,
      key_is_initial: false,
      split: false,
      lifetime_seconds: 1_000,
      grace_seconds: 10,
      added_at: new Date(node.addedAt).toISOString(),
      joined_at: new Date(start).toISOString(),
      renewed_at: new Date(start + 5_000).toISOString(),
      expires_at: new Date(start + 1_005_000).toISOString(),
      address: expect.stringMatching(/^192\.0\.2\.7:\d+$/) as string,
      tid: expect.stringMatching(/^[0-9a-f]{16}$/) as string,
      name: null,
      site: null,
      location: null,
      tags: [],
      note: null,
    });
    const text = JSON.stringify(view);
    for (const key of [ik, psk, renewed]) expect(text).not.toContain(key.toHex().slice(0, 12));
  });

  it('of a node that never joined has nothing where there is nothing', async () => {
    const view = viewNode((await registry.node(1))!, start);
    expect(view).toMatchObject({
      key_is_initial: true,
      joined_at: null,
      renewed_at: null,
      expires_at: null,
      address: null,
      tid: null,
    });
  });
});

describe('a query', () => {
  const found = async (query: NodeQuery, at: number = start, from?: number): Promise<number[]> =>
    (await allOf(queryNodes(registry, query, at, from))).map(({ idI }) => idI);

  beforeEach(async () => {
    // 1 and 4 join, 2 is disabled before it does, 3 goes to the other controller; 5 and 6 are of
    // another order, 6 never expires.
    const [four, six] = [newSecret(), newSecret()];
    await fixture.order({ 2: newSecret(), 3: newSecret(), 4: four });
    await fixture.order({ 5: newSecret(), 6: six }, { lifetime: 0, installer: 'Lee' });
    await fixture.join(1, ik, { wall: start });
    await fixture.join(4, four, { wall: start });
    await fixture.join(6, six, { wall: start });
    await setDisabled(registry, [2], true);
    await moveNodes(registry, [3], C2);
  });

  it.each<[string, NodeQuery, number[]]>([
    ['none', {}, [1, 2, 3, 4, 5, 6]],
    ['one state', { state: ['joined'] }, [1, 4, 6]],
    ['several states', { state: ['disabled', 'enrolled'] }, [2, 3, 5]],
    ['an order', { order: 2 }, [2, 3, 4]],
    ['a controller', { controller: C2 }, [3]],
    ['an installer', { installer: 'Lee' }, [5, 6]],
    ['an installer without orders', { installer: 'Kim & Sons' }, []],
    ['never joined', { neverJoined: true }, [2, 3, 5]],
    ['the first digit of an ID', { idPrefix: '0' }, [1, 2, 3, 4, 5, 6]],
    ['a prefix of no ID', { idPrefix: '1' }, []],
    ['a whole ID', { idPrefix: '00000003' }, [3]],
    ['all at once', { state: ['enrolled'], order: 2, controller: C2, neverJoined: true }, [3]],
    ['what excludes itself', { state: ['joined'], neverJoined: true }, []],
  ])('%s', async (_, query, ids) => {
    expect(await found(query)).toEqual(ids);
  });

  it('by expiry leaves out what never expires, and the time itself', async () => {
    const expiry = start + 1_000_000;
    expect([await found({ expiringBefore: expiry }), await found({ expiringBefore: expiry + 1 })]).toEqual([[], [1]]);
    expect(await found({ expiringBefore: start + 3_600_001 })).toEqual([1, 4]);
    expect(await found({ expiringBefore: Number.MAX_SAFE_INTEGER })).toEqual([1, 4]);
  });

  it('goes by the time one asks', async () => {
    expect(await found({ state: ['expired'] }, start + 1_000_001)).toEqual([1]);
    expect(await found({ state: ['expiring'] }, start + 1_000_000)).toEqual([1]);
    const states = await Promise.all(NODE_STATES.map((one) => found({ state: [one] }, start + 1_000_001)));
    expect(states.flat().toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it('by an order or a controller that is not there is refused, before anything is looked for', async () => {
    await expect(found({ order: 99 })).rejects.toThrow('there is no order 99');
    await expect(found({ controller: 9 })).rejects.toThrow('controller 00000009 is not in the registry');
  });

  it('goes on from an ID', async () => {
    expect([await found({}, start, 4), await found({ controller: C1 }, start, 3), await found({}, start, 7)]).toEqual([
      [4, 5, 6],
      [4, 5, 6],
      [],
    ]);
  });

  it('comes in pages, each from where the one before ended', async () => {
    const pages = [];
    for (let from: number | undefined = 0; from !== undefined;) {
      const { nodes, next } = await nodePage(registry, { state: ['joined', 'disabled'] }, start, from, 2);
      pages.push(nodes.map(({ idI }) => idI));
      from = next;
    }
    expect(pages).toEqual([
      [1, 2],
      [4, 6],
    ]);
  });

  it('counts nodes, and those that have joined, in all and by group', async () => {
    expect(await countNodes(registry, {}, start)).toEqual({ nodes: 6, joined: 3 });
    expect(await countNodes(registry, { controller: C2 }, start)).toEqual({ nodes: 1, joined: 0 });
    expect(await countNodes(registry, { state: ['expired'] }, start)).toEqual({ nodes: 0, joined: 0 });
    expect([...(await countNodesBy(registry, {}, start, 'order'))]).toEqual([
      [1, { nodes: 1, joined: 1 }],
      [2, { nodes: 3, joined: 1 }],
      [3, { nodes: 2, joined: 1 }],
    ]);
  });
});
