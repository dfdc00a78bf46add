// Proves that operations ask before they change anything, change what was asked about and nothing
// else, and hand keys to the function that takes them, never to the output.

import { collected } from '@latchkey/test-support/fixtures';
import { allOf } from '@latchkey/registry';
import { formatId, Secret } from '@latchkey/protocol';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import type { ControllerDetails } from '../src/contract/index.js';
import type { ManifestLine } from '@latchkey/provisioning';
import { Failure } from '@latchkey/runtime/failure';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import { secretsMade } from '@latchkey/test-support/registry-fixtures';
import {
  auditHead,
  auditList,
  type BeforeCommit,
  call,
  clockRelease,
  type Context,
  controllersAdd,
  controllersRemove,
  controllersRotate,
  controllersSet,
  controllersShow,
  ManifestNotWritten,
  nodesDisable,
  type ExportedLine,
  nodesExport,
  nodesExportWithKeys,
  nodesList,
  nodesMove,
  nodesReset,
  nodesSet,
  resetNode,
  ordersClose,
  ordersCreate,
  ordersExport,
  ordersList,
  ordersOpen,
} from '../src/index.js';

const C1 = '00000001';
const C2 = '00000002';
const TERMS = { installer: 'Kim', controller: C1, shared_key: false, lifetime_seconds: 3_600, grace_seconds: 600 };
const REFUSED = new Failure('not approved');
const refuse = (): Promise<void> => Promise.reject(REFUSED);

let fixture: AdminFixture;
let context: Context;

beforeEach(async () => {
  fixture = await AdminFixture.open();
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  context = { registry: fixture.registry, clock, actor: 'user ada' };
  await fixture.order({ 1: newSecret(), 2: newSecret(), 3: newSecret() });
});

async function states(): Promise<string[]> {
  const { items } = await call(nodesList, context, { limit: 100 });
  return items.map(({ id, state, controller }) => `${id} ${state} ${controller}`);
}

/** An output that keeps what it gets. */
class Collected {
  readonly kind = 'manifest';
  readonly lines: ManifestLine[] = [];

  async write(lines: Iterable<ManifestLine>, beforeCommit?: BeforeCommit): Promise<void> {
    const all = [...lines];
    this.lines.push(...((await beforeCommit?.()) ?? all));
  }
}

describe('a change of nodes', () => {
  it('is not made unless it is approved', async () => {
    const before = [await states(), fixture.headSeq];
    const asked: number[] = [];
    const approve = ({ count }: { readonly count: number }): Promise<void> => {
      asked.push(count);
      return refuse();
    };
    await expect(call(nodesDisable, { ...context, approve }, { select: { order: 1 } })).rejects.toBe(REFUSED);
    expect([asked, await states(), fixture.headSeq]).toEqual([[3], ...before]);
  });

  it('says once what is wrong with a text that is too long in characters and in octets', async () => {
    const description = { name: 'x'.repeat(2_000) };
    await expect(call(nodesSet, context, { select: { ids: ['00000001'] }, description })).rejects.toMatchObject({
      message: 'nodes.set: description.name: expected 64 characters at most',
    });
  });

  it('is of the nodes that were approved, though more match by then', async () => {
    const approve = async (): Promise<void> => void (await fixture.order({ 4: newSecret() }));
    expect(await call(nodesDisable, { ...context, approve }, { select: { controller: C1 } })).toEqual({
      changed: 3,
      unchanged: 0,
    });
    expect((await states()).map((state) => state.slice(0, 17))).toEqual([
      '00000001 disabled',
      '00000002 disabled',
      '00000003 disabled',
      '00000004 enrolled',
    ]);
  });

  it('counts nodes that were so already, and takes an ID that is named twice once', async () => {
    const select = { ids: ['00000001', '00000002', '00000001'] };
    expect(await call(nodesMove, context, { select, to: C2 })).toEqual({ changed: 2, unchanged: 0 });
    expect(await call(nodesMove, context, { select: { order: 1 }, to: C2 })).toEqual({ changed: 1, unchanged: 2 });
    await expect(call(nodesMove, context, { select, to: '00000009' })).rejects.toThrow(
      'controller 00000009 is not in the registry',
    );
  });

  it('needs IDs, or an order or a controller, and not both', async () => {
    for (const select of [{}, { ids: ['00000001'], order: 1 }, { ids: [] }])
      await expect(call(nodesDisable, context, { select })).rejects.toThrow(/^nodes.disable: select/);
  });
});

describe('an order', () => {
  it('is not handed over again if the output refuses so many nodes, and the log does not say so', async () => {
    const head = fixture.headSeq;
    const asked: (number | undefined)[] = [];
    const openOutput = (nodes?: number): Promise<Collected> => {
      asked.push(nodes);
      return Promise.reject(REFUSED);
    };
    await expect(call(ordersExport, { ...context, openOutput }, { order: 1 })).rejects.toBe(REFUSED);
    expect([asked, fixture.headSeq]).toEqual([[3], head]);
  });

  it('hands its keys to the output, with what was put into the registry before', async () => {
    const output = new Collected();
    const openOutput = (): Promise<Collected> => Promise.resolve(output);
    const created = await call(ordersCreate, { ...context, openOutput }, { ...TERMS, count: 2 });
    expect(created).toMatchObject({ order: 2, count: 2, split: false, join_from: null });
    expect(output.lines).toHaveLength(2);
    for (const { ik } of output.lines) expect(JSON.stringify(created)).not.toContain(ik.toHex());
    expect((await call(ordersList, context, {})).items.map(({ order, nodes }) => [order, nodes])).toEqual([
      [1, 3],
      [2, 2],
    ]);
  });

  it('says that it is there when its manifest could not be written', async () => {
    const write = async (_: Iterable<ManifestLine>, beforeCommit?: BeforeCommit): Promise<void> => {
      await beforeCommit?.();
      throw new Failure('no space left');
    };
    const openOutput = (): Promise<{ kind: 'manifest'; write: typeof write }> => Promise.resolve({ kind: 'manifest', write });
    const failure = await call(ordersCreate, { ...context, openOutput }, { ...TERMS, count: 1 }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(ManifestNotWritten);
    expect(failure).toMatchObject({ order: 2, message: 'no space left' });
  });

  it('takes a window with its zone, and refuses one in which nobody can join', async () => {
    const opened = await call(ordersOpen, context, { order: 1, join_from: '2999-12-24T00:00:00+01:00' });
    expect(opened).toEqual({ order: 1, state: 'scheduled' });
    const [order] = (await call(ordersList, context, {})).items;
    expect(order).toMatchObject({ join_from: '2999-12-23T23:00:00.000Z', join_until: null });
    const over = { order: 1, join_until: '2020-12-24T00:00:00Z' };
    await expect(call(ordersOpen, context, over)).rejects.toThrow('join_until 2020-12-24T00:00:00Z is over already');
    await expect(call(ordersOpen, context, { order: 1, join_until: '2999-12-24' })).rejects.toThrow(/^orders.open: join_until/);
  });

  it('is closed only once it is approved, with the nodes that never join then', async () => {
    const asked: number[] = [];
    const approve = ({ remaining }: { readonly remaining: number }): Promise<void> => {
      asked.push(remaining);
      return asked.length === 1 ? refuse() : Promise.resolve();
    };
    await expect(call(ordersClose, { ...context, approve }, { order: 1 })).rejects.toBe(REFUSED);
    expect(await call(ordersClose, { ...context, approve }, { order: 1 })).toEqual({ order: 1, state: 'closed' });
    expect(asked).toEqual([3, 3]);
    const openOutput = (): Promise<Collected> => Promise.resolve(new Collected());
    await expect(call(ordersExport, { ...context, openOutput }, { order: 1 })).rejects.toThrow('order 1 is closed for good');
  });
});

describe('a controller', () => {
  it('is not added if its credential is not kept', async () => {
    const input = { id: '00000007', nid: '192.0.2.7:5683', servers: [], pass_through: false };
    await expect(call(controllersAdd, { ...context, handOver: refuse }, input)).rejects.toBe(REFUSED);
    await expect(call(controllersShow, context, { id: '00000007' })).rejects.toThrow(
      'controller 00000007 is not in the registry',
    );
    await expect(call(controllersAdd, { ...context, handOver: refuse }, { ...input, nid: 'nowhere' })).rejects.toThrow(
      'nid: expected HOST:PORT',
    );
  });

  it('says which staged key a rotation gives up', async () => {
    const handOver = (_: unknown, change: () => Promise<void>): Promise<void> => change();
    expect(await call(controllersRotate, { ...context, handOver }, { id: C1 })).toEqual({ id: C1, discarded_key: null });
    const { staged_key: staged } = await call(controllersShow, context, { id: C1 });
    expect(await call(controllersRotate, { ...context, handOver }, { id: C1 })).toEqual({ id: C1, discarded_key: staged });
  });

  it('says which SK_cs it used last, how often, and that a staged one waits', async () => {
    const show = (): Promise<ControllerDetails> => call(controllersShow, context, { id: C1 });
    const { key } = await show();
    expect(await show()).toMatchObject({ last_seen_at: null, used_key: null, used_key_since: null, used_key_requests: null });
    const ask = (at: number, skCs: Secret): Promise<string> =>
      fixture.testServer((server) => server.request(server.exchange(1, newSecret(), { skCs }), 'm2'), at);
    expect(await ask(1_000, fixture.skCs(1))).toBe('M3');
    const staged: Secret[] = [];
    const handOver = async ({ skCs }: { readonly skCs: Secret }, change: () => Promise<void>): Promise<void> => {
      staged.push(Secret.from(skCs.expose()));
      await change();
    };
    await call(controllersRotate, { ...context, handOver }, { id: C1 });
    const [next = newSecret()] = staged;
    expect(await ask(2_000, fixture.skCs(1))).toBe('M3');
    expect(await show()).toMatchObject({
      key,
      staged_key: next.fingerprint,
      last_seen_at: '1970-01-01T00:00:02.000Z',
      used_key: key,
      used_key_since: '1970-01-01T00:00:01.000Z',
      used_key_requests: 2,
      used_key_ratio: 4 / 2 ** 32,
    });
    expect(await ask(3_000, next)).toBe('M3');
    expect(await show()).toMatchObject({
      key: next.fingerprint,
      staged_key: null,
      used_key: next.fingerprint,
      used_key_since: '1970-01-01T00:00:03.000Z',
      used_key_requests: 1,
    });
    // Of the key that was erased nothing opens: it is not the one that was used.
    await ask(4_000, fixture.skCs(1));
    const after = await show();
    expect(after).toMatchObject({ used_key: next.fingerprint, used_key_requests: 1 });
    expect(after.authentication_failing_since).toBe('1970-01-01T00:00:04.000Z');
  });

  it('says what was before a change, and which nodes have its address', async () => {
    const { nid, nodes } = await call(controllersShow, context, { id: C1 });
    const change = await call(controllersSet, context, { id: C1, nid: '192.0.2.9:5683' });
    expect(change).toMatchObject({ changed: true, nid: '192.0.2.9:5683', before: { nid } });
    expect(change.nodes).toEqual({ joined: 0, waiting: [{ order: 1, nodes }] });
    expect(change).not.toHaveProperty('keys_held');
    expect(await call(controllersSet, context, { id: C1, pass_through: true })).toMatchObject({
      nodes: null,
      keys_held: ['00000001', '00000002', '00000003'],
    });
  });

  it('is not removed while it has nodes, nor unless that is approved', async () => {
    await expect(call(controllersRemove, context, { id: C1 })).rejects.toThrow('3 nodes are assigned to controller 00000001');
    await expect(call(controllersRemove, { ...context, approve: refuse }, { id: C2 })).rejects.toBe(REFUSED);
    expect(await call(controllersRemove, context, { id: C2 })).toEqual({ id: C2 });
  });
});

describe('keys of nodes', () => {
  it('are handed over with each node, and the log says so before', async () => {
    const seen: string[] = [];
    const write = async (pages: AsyncIterable<readonly ExportedLine[]>): Promise<void> => {
      expect(fixture.entriesAfter(0).at(-1)).toMatchObject({ what: 'nodes exported', count: 3, note: 'with keys' });
      for await (const page of pages) for (const [{ id }, key] of page) seen.push(`${id} ${key?.toHex().length}`);
    };
    expect(await call(nodesExportWithKeys, { ...context, write }, {})).toEqual({ count: 3 });
    expect(seen).toEqual(['00000001 32', '00000002 32', '00000003 32']);
  });

  it('are counted when it is their turn, and may still be refused then, before the log says so', async () => {
    const seen: string[] = [];
    const write = async (pages: AsyncIterable<readonly ExportedLine[]>): Promise<void> => {
      for await (const page of pages) for (const [{ id }] of page) seen.push(id);
    };
    let idI = 3;
    const inTurn: Context['inTurn'] = async (walk) => {
      await fixture.order({ [++idI]: newSecret() });
      return walk();
    };
    const exporting = { ...context, write, inTurn };
    const approve = async ({ count }: { count: number }): Promise<void> => {
      if (count > 3) throw REFUSED;
    };
    await expect(call(nodesExportWithKeys, { ...exporting, approve }, {})).rejects.toBe(REFUSED);
    expect([seen, fixture.entriesAfter(0).at(-1)]).toMatchObject([[], { what: 'order created' }]);
    expect(await call(nodesExportWithKeys, exporting, {})).toEqual({ count: 5 });
    expect(seen).toHaveLength(5);
    expect(fixture.entriesAfter(0).at(-1)).toMatchObject({ what: 'nodes exported', count: 5, note: 'with keys' });
  });

  it('are counted as they are written where they stay', async () => {
    const head = fixture.headSeq;
    const write = async (pages: AsyncIterable<unknown>): Promise<void> => void (await collected(pages));
    expect(await call(nodesExport, { ...context, write }, { order: 1 })).toEqual({ count: 3 });
    expect(fixture.headSeq).toBe(head);
  });

  it('are not drawn anew unless that is approved', async () => {
    const output = new Collected();
    const openOutput = (): Promise<Collected> => Promise.resolve(output);
    const before = fixture.headSeq;
    const approve = (preview: object): Promise<void> => {
      expect(preview).toEqual({ nodes: 3, key: null, also_held_by: null });
      return refuse();
    };
    const input = { order: 1, unsplit: false };
    await expect(call(nodesReset, { ...context, openOutput, approve }, input)).rejects.toBe(REFUSED);
    expect([fixture.headSeq, output.lines]).toEqual([before, []]);
    expect(await call(nodesReset, { ...context, openOutput }, input)).toMatchObject({ nodes: 3, drawn: true, key: null });
    expect(output.lines).toHaveLength(3);
  });

  it('are drawn for many nodes at once, each in the line of its controller, in few reads', async () => {
    const ids = Array.from({ length: 300 }, (_, i) => 10 + i);
    await fixture.order(Object.fromEntries(ids.map((idI) => [idI, newSecret()])));
    const select = { ids: ids.slice(0, 150).map(formatId) };
    await call(nodesMove, context, { select, to: C2 });
    const output = new Collected();
    const openOutput = (): Promise<Collected> => Promise.resolve(output);
    const read = vi.spyOn(fixture.registry.storage, 'read');
    const named = ids.toReversed();
    await call(nodesReset, { ...context, openOutput }, { ids: named.map(formatId), unsplit: false });
    expect(read.mock.calls.length).toBeLessThan(30);
    expect(output.lines.map(({ idI, idC, controller }) => [idI, idC, controller.port])).toEqual(
      named.map((idI) => (idI < 160 ? [idI, 2, 5_685] : [idI, 1, 5_684])),
    );
  });

  it('that many nodes of other orders hold are found in few reads', async () => {
    const [shared, ids] = [newSecret(), Array.from({ length: 300 }, (_, i) => 10 + i)];
    await fixture.order(Object.fromEntries(ids.map((idI) => [idI, shared])), { sharedKey: true });
    const read = vi.spyOn(fixture.registry.storage, 'read');
    const found: unknown[] = [];
    const approve = async (preview: object): Promise<void> => void found.push(preview);
    const readKey = (): Promise<Secret> => Promise.resolve(Secret.from(shared.expose()));
    await call(nodesReset, { ...context, approve, readKey }, { ids: ['00000001'], unsplit: false });
    expect(found).toEqual([{ nodes: 1, key: shared.fingerprint, also_held_by: null }]);
    expect(read.mock.calls.length).toBeLessThan(40);
  });

  it.each([
    ['once its node has it', 'fulfilled', () => Promise.resolve()],
    ['if it is not approved', 'rejected', refuse],
  ])('is wiped %s', async (_, outcome, approve) => {
    const given = newSecret();
    const made = secretsMade();
    const readKey = (): Promise<Secret> => Promise.resolve(Secret.from(given.expose()));
    const reset = call(nodesReset, { ...context, approve, readKey }, { ids: ['00000001'], unsplit: false });
    const [{ status }] = await Promise.allSettled([reset]);
    expect(status).toBe(outcome);
    expect(new Set(made())).toEqual(new Set(['[secret wiped]']));
  });

  it('are not drawn if one of several nodes cannot get one: the first that was named is told', async () => {
    const closed = await fixture.order({ 4: newSecret() });
    await call(ordersClose, context, { order: closed });
    const head = fixture.headSeq;
    const openOutput = (): Promise<Collected> => Promise.reject(new Error('nothing is to be written'));
    const reset = (...ids: number[]): Promise<unknown> =>
      call(nodesReset, { ...context, openOutput }, { ids: ids.map(formatId), unsplit: false });
    await expect(reset(3, 4, 9)).rejects.toMatchObject({
      message: `order ${closed} of node 00000004 is closed for good: with an initial key it cannot join`,
      run: expect.arrayContaining([expect.arrayContaining(['00000004'])]),
    });
    await expect(reset(3, 9, 4)).rejects.toThrow('node 00000009 is not in the registry');
    expect(fixture.headSeq).toBe(head);
  });

  it('stay with the nodes of an order that join while it is reset: no manifest has them', async () => {
    const keys = new Map([1, 2, 3].map((idI) => [idI, newSecret()]));
    for (const [idI, key] of keys) await resetNode(fixture.registry, idI, key);
    const output = new Collected();
    const openOutput = (): Promise<Collected> => Promise.resolve(output);
    const join = (...ids: number[]) => ({
      approve: async (): Promise<void> => {
        for (const idI of ids) await fixture.join(idI, keys.get(idI)!);
      },
    });
    const input = { order: 1, unsplit: false };
    expect(await call(nodesReset, { ...context, openOutput, ...join(2) }, input)).toMatchObject({ nodes: 2, passed_over: 1 });
    expect(output.lines.map(({ idI }) => idI)).toEqual([1, 3]);
    for (const idI of [1, 3]) await resetNode(fixture.registry, idI, keys.set(idI, newSecret()).get(idI)!);
    await expect(call(nodesReset, { ...context, openOutput, ...join(1, 3) }, input)).rejects.toThrow('joined meanwhile');
    expect(await states()).toEqual([1, 2, 3].map((idI) => `0000000${idI} joined 00000001`));
  });

  it('that nodes share are replaced where a node still holds one: one that got another meanwhile keeps that', async () => {
    const [shared, own] = [newSecret(), newSecret()];
    const order = await fixture.order({ 4: shared, 5: shared }, { sharedKey: true });
    const output = new Collected();
    const openOutput = (): Promise<Collected> => Promise.resolve(output);
    const approve = (): Promise<void> => resetNode(fixture.registry, 5, own);
    const input = { order, holding: shared.fingerprint, unsplit: false };
    expect(await call(nodesReset, { ...context, openOutput, approve }, input)).toMatchObject({ nodes: 1, passed_over: 1 });
    expect(output.lines.map(({ idI }) => idI)).toEqual([4]);
    expect((await fixture.registry.node(5))?.key.equals(own)).toBe(true);
  });
});

describe('the audit log', () => {
  it('is read page by page, through an entry', async () => {
    const { seq, head } = await call(auditHead, context, {});
    expect(head).toMatch(new RegExp(`^${seq}:[0-9a-f]{64}$`));
    const { items } = await call(auditList, context, { from: 2, up_to: seq - 1, limit: 1_000 });
    expect(items.map((entry) => entry.seq)).toEqual(Array.from({ length: seq - 2 }, (_, i) => i + 2));
    const latest = await call(auditList, context, { limit: 2 });
    expect(latest.items.map((entry) => entry.seq)).toEqual([seq - 1, seq]);
  });

  it('keeps the octets of its entries', async () => {
    const { items } = await call(auditList, context, { from: 1, limit: 1_000 });
    expect(items.map((entry) => JSON.stringify(entry))).toEqual(
      (await allOf(fixture.registry.audit.entryPages(1))).map((entry) => JSON.stringify(entry)),
    );
  });
});

describe('a clock that was never set back', () => {
  it('has nothing to release', async () => {
    await expect(call(clockRelease, context, {})).rejects.toThrow('no times are blocked');
  });
});
