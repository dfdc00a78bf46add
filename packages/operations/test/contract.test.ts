// Proves that an operation takes what its contract names and gives no more than that, and that the
// contract can be loaded where there is no Node.js.

import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { beforeEach, describe, expect, it } from 'vitest';
import { AdminFixture, C1, newSecret } from '@latchkey/test-support/admin-fixture';
import * as contracts from '../src/contract/index.js';
import * as operations from '../src/index.js';
import {
  call,
  type Context,
  nodesChangeMany,
  nodesCount,
  nodesDiagnoseGroups,
  nodesDisable,
  nodesEnable,
  nodesList,
  nodesRemove,
  nodesSet,
  nodesShow,
  type Operation,
  ordersList,
  removeNodes,
} from '../src/index.js';
import { implement } from '../src/operation.js';

const folder = fileURLToPath(new URL('../src/contract/', import.meta.url));
let fixture: AdminFixture;
let context: Context;

beforeEach(async () => {
  fixture = await AdminFixture.open();
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  context = { registry: fixture.registry, clock, actor: 'user ada' };
  await fixture.order({ 1: newSecret(), 2: newSecret(), 3: newSecret() });
});

const all = Object.values<unknown>(operations).filter(
  (value): value is Operation<object, unknown> => typeof value === 'object' && value !== null && 'run' in value,
);

describe('a contract', () => {
  it('imports zod and nothing else, but types', () => {
    const files = readdirSync(folder);
    expect(files).toContain('index.ts');
    const imports = files.flatMap((file) =>
      [...readFileSync(`${folder}${file}`, 'utf8').matchAll(/^(?:import|export) (?!type\b)[^;]*?from '([^'.][^']*)'/gms)].map(
        (match) => match[1],
      ),
    );
    expect(new Set(imports)).toEqual(new Set(['zod']));
  });

  it('is carried out by an operation of its name', () => {
    const named = Object.entries<unknown>(contracts).filter(
      ([, value]) => typeof value === 'object' && value !== null && 'scope' in value,
    );
    expect(named.length).toBeGreaterThan(0);
    expect(all.map(({ name }) => name).toSorted()).toEqual(
      named.map(([, contract]) => (contract as { readonly name: string }).name).toSorted(),
    );
    expect(new Set(all.map(({ name }) => name)).size).toBe(all.length);
  });
});

describe('an operation', () => {
  it('that does not heed which orders its caller sees is refused to a caller with limits', async () => {
    const limited = { ...context, visibleOrders: new Set([1]) };
    const refused = all.filter(({ isLimitable }) => isLimitable !== true);
    expect(refused.length).toBeGreaterThan(10);
    for (const operation of refused)
      await expect(call(operation, limited, {})).rejects.toThrow(`${operation.name} shows more than some orders`);
  });

  it('lists, counts and diagnoses what its caller sees', async () => {
    const limited = { ...context, visibleOrders: new Set([2]) };
    for (const [visibleOrders, nodes] of [
      [new Set([1, 2]), 3],
      [new Set([2]), 0],
      [new Set<number>(), 0],
    ] as const) {
      const seen = { ...context, visibleOrders };
      expect((await call(nodesList, seen, { limit: 10 })).items.length).toBe(nodes);
      expect(await call(nodesCount, seen, {})).toMatchObject({ nodes });
      expect(await call(nodesDiagnoseGroups, seen, { filter: {} })).toMatchObject({ nodes });
      expect((await call(ordersList, seen, {})).items.length).toBe(nodes === 0 ? 0 : 1);
    }
    await expect(call(nodesCount, limited, { order: 1 })).rejects.toThrow('there is no order 1');
    await expect(call(nodesDisable, limited, { select: { ids: ['00000001'] } })).rejects.toThrow('is not in the registry');
  });

  const SECOND = { ids: ['00000002'] };
  it.each<[name: string, change: (limited: Context & { readonly approve: () => Promise<void> }) => Promise<unknown>]>([
    ['disable', (limited) => call(nodesDisable, limited, { select: SECOND })],
    ['enable', (limited) => call(nodesEnable, limited, { select: SECOND })],
    ['remove', (limited) => call(nodesRemove, limited, { select: SECOND })],
    ['set', (limited) => call(nodesSet, limited, { select: SECOND, lifetime_seconds: 60 })],
    ...(
      [
        { kind: 'disable' },
        { kind: 'remove' },
        { kind: 'move', to: '00000002' },
        { kind: 'set', lifetime_seconds: 60 },
        { kind: 'describe', description: { site: 'north' } },
      ] as const
    ).map((change): [string, (limited: Context) => Promise<unknown>] => [
      `${change.kind} as one of many`,
      (limited) => call(nodesChangeMany, limited, { select: SECOND, change }),
    ]),
  ])('does not %s a node that is of an order of others by then', async (_, change) => {
    let head = 0;
    const approve = async (): Promise<void> => {
      await removeNodes(fixture.registry, [2]);
      await fixture.order({ 2: newSecret() }, { installer: 'Bo' });
      head = fixture.headSeq;
    };
    const changing = change({ ...context, visibleOrders: new Set([1]), approve });
    await expect(changing).rejects.toThrow('node 00000002 is not in the registry');
    expect([head > 0, fixture.headSeq]).toEqual([true, head]);
  });

  it('gives what its contract names, and strips the rest', async () => {
    const leaking = implement(nodesShow, async (where: Context, input: { readonly id: string }) => ({
      ...(await nodesShow.run(where, input)),
      secret_key: '00112233445566778899aabbccddeeff',
    }));
    const node = await call(leaking, context, { id: '00000001' });
    expect(node).toEqual(await call(nodesShow, context, { id: '00000001' }));
    expect(node).not.toHaveProperty('secret_key');
  });

  it('names the field of an input that is wrong, and not its value', async () => {
    const wrong = { id: '00112233445566778899aabbccddeeff' };
    await expect(call(nodesShow, context, wrong)).rejects.toThrow('nodes.show: id: expected 8 hex digits');
    const unknown = { id: '00000001', ik: '00112233445566778899aabbccddeeff' };
    await expect(call(nodesShow, context, unknown)).rejects.toThrow(/^nodes.show: Unrecognized key: "ik"$/);
  });

  it('lists nodes page by page', async () => {
    const first = await call(nodesList, context, { limit: 2 });
    expect(first.items.map(({ id }) => id)).toEqual(['00000001', '00000002']);
    expect(first.next).toBe('00000002');
    const second = await call(nodesList, context, { limit: 2, after: '00000002' });
    expect(second.items.map(({ id }) => id)).toEqual(['00000003']);
    expect(second.next).toBeNull();
  });

  it('counts nodes by state', async () => {
    const states = { enrolled: 3, joined: 0, expiring: 0, expired: 0, disabled: 0 };
    expect(await call(nodesCount, context, {})).toEqual({ nodes: 3, joined: 0, states });
    const none = { ...states, enrolled: 0 };
    expect(await call(nodesCount, context, { controller: `0000000${C1}`, state: ['expired'] })).toEqual({
      nodes: 0,
      joined: 0,
      states: none,
    });
  });
});
