// Proves who is told to know an initial key: given by which orders, held by how many, seen by which
// controllers, retired when.

import { beforeEach, describe, expect, it } from 'vitest';
import { NodeBatch } from '../src/node-batch.js';
import { moveNodes, removeNodes, resetNode } from '../src/administration.js';
import { enrol } from '../src/enrolment.js';
import { type Exposure, exposureOfOrder, exposureByOrder } from '../src/key-exposure.js';
import type { Registry } from '@latchkey/registry';
import { C1, C2, newSecret, AdminFixture } from '@latchkey/test-support/admin-fixture';

let fixture: AdminFixture;
let registry: Registry;

beforeEach(async () => {
  fixture = await AdminFixture.open();
  ({ registry } = fixture);
});

/** One exposure in a few words. */
function describeExposure({ keys, issues, nodes, held, controllers, retiredAt }: Exposure): string {
  const what = keys.kind === 'one' ? keys.fingerprint : `${keys.count} of ${keys.order}`;
  const who = issues.map(({ order, installer }) => `${order} ${installer}`).join(', ');
  return `${what}: ${who}; ${held} of ${nodes}; by ${controllers.join(' ')}; ${retiredAt === undefined ? 'open' : 'retired'}`;
}

const of = async (order: number): Promise<string[]> => (await exposureOfOrder(registry, order)).map(describeExposure).toSorted();
const all = async (): Promise<string[]> => (await exposureByOrder(registry)).map(describeExposure);

describe('an order with one key for all', () => {
  it('is one row, from the first asking until the last node has traded it in', async () => {
    const ik = newSecret();
    const [order, at] = [await fixture.order({ 1: ik, 2: ik, 3: ik }, { sharedKey: true }), Date.now()];
    const row = (held: number, by: string, state: string): string[] => [
      `${ik.fingerprint}: 1 Kim; ${held} of 3; by ${by}; ${state}`,
    ];
    expect([await of(order), await all()]).toEqual([row(3, '', 'open'), row(3, '', 'open')]);
    await fixture.testServer((server) => server.request(server.exchange(1, ik), 'm2'));
    expect(await of(order)).toEqual(row(3, '1', 'open'));
    await fixture.join(1, ik, { wall: at + 1_000 });
    await moveNodes(registry, [2], C2);
    await fixture.join(2, ik, { idC: C2, wall: at + 5_000 });
    expect(await of(order)).toEqual(row(1, '1 2', 'open'));
    await fixture.join(3, ik, { wall: at + 4_500 });
    expect([await of(order), await all()]).toEqual([row(0, '1 2', 'retired'), row(0, '1 2', 'retired')]);
    // When the last one did, not when the last one was looked at.
    expect((await exposureOfOrder(registry, order))[0]?.retiredAt).toBe(at + 5_000);
    expect((await exposureOfOrder(registry, order))[0]?.issues[0]?.at).toBe((await registry.order(order))?.createdAt);
  });

  it('is nowhere in the store any more when it is retired, but for its fingerprint', async () => {
    const ik = newSecret();
    await fixture.order({ 1: ik }, { sharedKey: true });
    await fixture.join(1, ik);
    const [row] = [...registry.tables.nodes.getRange()];
    expect(Buffer.from(row!.value.ik).toString('hex', 8)).toBe(ik.fingerprint);
    // What tells it from others is not made from it alone: whoever reads the store cannot try keys.
    const again = await AdminFixture.open();
    await again.order({ 1: ik });
    expect(Buffer.from(again.registry.tables.nodes.get(1)!.ik.subarray(0, 8))).not.toEqual(
      Buffer.from(row!.value.ik.subarray(0, 8)),
    );
  });
});

describe('an order with a key per node', () => {
  it('is a row a key, or one row for all of them together', async () => {
    const [a, b] = [newSecret(), newSecret()];
    const order = await fixture.order({ 1: a, 2: b });
    expect(await of(order)).toEqual([a, b].map((ik) => `${ik.fingerprint}: 1 Kim; 1 of 1; by ; open`).toSorted());
    await fixture.join(1, a);
    expect(await of(order)).toEqual(
      [`${a.fingerprint}: 1 Kim; 0 of 1; by 1; retired`, `${b.fingerprint}: 1 Kim; 1 of 1; by ; open`].toSorted(),
    );
    expect(await all()).toEqual(['2 of 1: 1 Kim; 1 of 2; by 1; open']);
    await fixture.join(2, b);
    expect(await all()).toEqual(['2 of 1: 1 Kim; 0 of 2; by 1; retired']);
  });
});

describe('a key that several orders have', () => {
  it('is held until no node of any of them holds it, and all who were given it are named', async () => {
    const ik = newSecret();
    await fixture.order({ 1: ik });
    const second = await fixture.order({ 2: ik, 3: newSecret() }, { kind: 'import', installer: 'nodes.csv' });
    const row = (held: number, by: string, state: string): string =>
      `${ik.fingerprint}: 1 Kim, 2 nodes.csv; ${held} of 2; by ${by}; ${state}`;
    expect(await of(1)).toEqual([row(2, '', 'open')]);
    await fixture.join(1, ik);
    expect(await of(1)).toEqual([row(1, '1', 'open')]);
    expect(await of(second)).toContain(row(1, '1', 'open'));
    await fixture.join(2, ik);
    expect(await of(1)).toEqual([row(0, '1', 'retired')]);
  });

  it('is not said to be retired in the list of all orders while one of them holds it', async () => {
    const ik = newSecret();
    await fixture.order({ 1: ik });
    await fixture.order({ 2: ik }, { installer: 'Lee' });
    await fixture.join(1, ik);
    expect((await exposureByOrder(registry)).filter(({ retiredAt }) => retiredAt !== undefined)).toEqual([]);
  });
});

it('a key that an import gave to a node of an order was given out at that time', async () => {
  const order = await fixture.order({ 1: newSecret() });
  const before = (await registry.order(order))!.createdAt;
  while (Date.now() === before);
  const batch = new NodeBatch();
  batch.add(1, C1, newSecret().expose(), 2);
  const terms = { kind: 'import', installer: 'Ada', idC: undefined, sharedKey: false, lifetime: 0, grace: 0 } as const;
  await enrol(registry, { terms, batch, action: () => 'change' });
  const imported = (await exposureOfOrder(registry, order)).find(({ held }) => held === 1);
  expect(imported?.issues[0]?.at).toBeGreaterThan(before);
});

describe('a node that is reset', () => {
  it('holds its key again, which is no longer retired', async () => {
    const ik = newSecret();
    const order = await fixture.order({ 1: ik });
    await fixture.join(1, ik);
    await resetNode(registry, 1, ik);
    expect(await of(order)).toEqual([`${ik.fingerprint}: 1 Kim; 1 of 1; by 1; open`]);
  });

  it('to another key has shown that to nobody, and who has seen the one before stays known', async () => {
    const [ik, other] = [newSecret(), newSecret()];
    const order = await fixture.order({ 1: ik });
    await fixture.join(1, ik);
    await resetNode(registry, 1, other);
    expect(await of(order)).toEqual(
      [`${other.fingerprint}: 1 Kim; 1 of 1; by ; open`, `${ik.fingerprint}: 1 Kim; 0 of 1; by 1; retired`].toSorted(),
    );
  });

  it('to another key was given it at that time', async () => {
    const order = await fixture.order({ 1: newSecret() });
    const before = (await registry.order(order))!.createdAt;
    while (Date.now() === before);
    await resetNode(registry, 1, newSecret());
    expect((await exposureOfOrder(registry, order))[0]?.issues[0]?.at).toBeGreaterThan(before);
  });
});

it('the keys of nodes that were removed stay known by their fingerprints, and as having been traded in or not', async () => {
  const [one, two] = [newSecret(), newSecret()];
  const order = await fixture.order({ 1: one, 2: two });
  await fixture.join(1, one);
  await removeNodes(registry, [1, 2]);
  expect(await of(order)).toEqual(
    [`${one.fingerprint}: 1 Kim; 0 of 1; by 1; retired`, `${two.fingerprint}: 1 Kim; 0 of 1; by ; retired`].toSorted(),
  );
  expect((await exposureOfOrder(registry, order)).map(({ joined }) => joined).toSorted((a, b) => a - b)).toEqual([0, 1]);
  expect(await of(99)).toEqual([]);
});

it('a row that says that controllers were shown a key says which, each once', async () => {
  const ik = newSecret();
  const order = await fixture.order({ 1: ik, 2: ik });
  await fixture.testServer(async (server) => {
    for (let i = 0; i < 3; i++) await server.request(server.exchange(1, ik), 'm2');
    await server.request(server.exchange(2, ik), 'm2');
    // Refused: it was shown nothing.
    await server.request(server.exchange(2, ik, { idC: C2 }), 'm2');
  });
  expect((await exposureOfOrder(registry, order))[0]?.controllers).toEqual([C1]);
});
