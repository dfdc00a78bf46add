// Changes of many nodes are written part by part. Proves that a part happens whole or not at all,
// and that a failure after a part says how many nodes were done.

import type { MemoryStorage } from '@latchkey/registry/memory';
import type { ManifestLine } from '@latchkey/provisioning';
import { Failure } from '@latchkey/runtime/failure';
import { AdminFixture, type Engine, newSecret } from '@latchkey/test-support/admin-fixture';
import { describe, expect, it } from 'vitest';
import { setNodes } from '../src/administration.js';
import {
  type BeforeCommit,
  call,
  type Context,
  nodesChangeMany,
  nodesCount,
  nodesDisable,
  nodesMove,
  nodesRemove,
  nodesReset,
  nodesSet,
  removeNodes,
} from '../src/index.js';

/** Two more than a write changes. */
const MANY = 4_098;
const LOST = { answer: 'unavailable', effect: 'none' } as const;
const NOT_APPLICABLE = { unsplit: false };

interface Office {
  readonly fixture: AdminFixture;
  readonly context: Context;
}

async function officeWith(nodes: number, engine?: Engine): Promise<Office> {
  const fixture = await AdminFixture.open(engine);
  const { registry } = fixture;
  await fixture.order(Object.fromEntries(Array.from({ length: nodes }, (_, i) => [i + 1, newSecret()])));
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  return { fixture, context: { registry, clock, actor: 'user ada' } };
}

/** An output that keeps what it gets, unless its last step fails. */
class Output {
  readonly kind = 'manifest';
  readonly lines: ManifestLine[] = [];
  readonly #fault: Failure | undefined;

  constructor(fault?: Failure) {
    this.#fault = fault;
  }

  readonly open = (): Promise<this> => Promise.resolve(this);

  async write(lines: Iterable<ManifestLine>, beforeCommit?: BeforeCommit): Promise<void> {
    const all = [...lines];
    const instead = await beforeCommit?.();
    if (this.#fault !== undefined) throw this.#fault;
    this.lines.push(...(instead ?? all));
  }
}

async function resets(fixture: AdminFixture): Promise<number> {
  const rows = await fixture.registry.storage.nodePage(1, MANY);
  return rows.filter(([, { resetAt }]) => resetAt !== undefined).length;
}

describe('a reset of several nodes', () => {
  const several = { ids: ['00000001', '00000002'], ...NOT_APPLICABLE };
  const all = { order: 1, ...NOT_APPLICABLE };

  it('is one write', async () => {
    const office = await officeWith(2, 'memory');
    const output = new Output();
    const context = { ...office.context, openOutput: output.open };
    // Of the next two writes the second one is lost.
    (office.fixture.registry.storage as MemoryStorage).order({}, LOST);
    expect(await call(nodesReset, context, several)).toMatchObject({ nodes: 2 });
    expect([await resets(office.fixture), output.lines.length]).toEqual([2, 2]);
    await expect(call(nodesReset, context, several)).rejects.toMatchObject({ name: 'Unavailable' });
    expect(output.lines.length).toBe(2);
  });

  it('changes none of them if one is not there', async () => {
    const office = await officeWith(2);
    const output = new Output();
    const removing = async (): Promise<void> => void (await removeNodes(office.fixture.registry, [2]));
    const context = { ...office.context, openOutput: output.open, approve: removing };
    await expect(call(nodesReset, context, several)).rejects.toThrow('node 00000002 is not in the registry');
    expect([await resets(office.fixture), output.lines.length]).toEqual([0, 0]);
  });

  it('says that no manifest has the new initial keys if the output fails', async () => {
    const office = await officeWith(2);
    const full = new Output(new Failure('cannot write ./manifest.csv: no space left on the device'));
    const context = { ...office.context, openOutput: full.open };
    await expect(call(nodesReset, context, several)).rejects.toThrow(
      '2 of 2 nodes were reset, and no manifest has their new initial keys: cannot write ./manifest.csv',
    );
    await expect(call(nodesReset, context, { ids: ['00000001'], ...NOT_APPLICABLE })).rejects.toThrow(
      'the node was reset, and no manifest has its new initial key: cannot write ./manifest.csv',
    );
  });

  it('ends after a part if its owner may do it no longer', async () => {
    const office = await officeWith(2);
    const forbidden = new Error('forbidden');
    const calls: unknown[] = [];
    const afterPart = (...done: readonly number[]): Promise<void> => {
      calls.push(done);
      return Promise.reject(forbidden);
    };
    await expect(call(nodesReset, { ...office.context, openOutput: new Output().open, afterPart }, all)).rejects.toBe(forbidden);
    expect(calls).toEqual([[2, 2]]);
  });
});

describe('a change of the nodes that pass a filter', () => {
  const NEVER_JOINED = { order: 1, never_joined: true } as const;
  type Changing = Context & { readonly approve: () => Promise<void> };
  const kinds: readonly [name: string, change: (context: Changing) => Promise<unknown>][] = [
    ['removed', (context) => call(nodesRemove, context, { select: NEVER_JOINED })],
    ['disabled', (context) => call(nodesDisable, context, { select: NEVER_JOINED })],
    ['moved', (context) => call(nodesMove, context, { select: NEVER_JOINED, to: '00000002' })],
    ['set', (context) => call(nodesSet, context, { select: NEVER_JOINED, lifetime_seconds: 60 })],
    ['removed as one of many', (context) => call(nodesChangeMany, context, { select: NEVER_JOINED, change: { kind: 'remove' } })],
  ];

  it.each(kinds)('leaves a node as it is that joined before it was to be %s', async (_, change) => {
    const fixture = await AdminFixture.open('memory');
    const key = newSecret();
    await fixture.order({ 1: newSecret(), 2: key, 3: newSecret() });
    const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
    let head = 0;
    const approve = async (): Promise<void> => {
      await fixture.join(2, key);
      head = fixture.headSeq;
    };
    const changing = change({ registry: fixture.registry, clock, actor: 'user ada', approve });
    expect(await changing).toEqual({ changed: 2, unchanged: 0, passed_over: 1 });
    expect(fixture.entriesAfter(head).map(({ node }) => node)).toEqual(['00000001', '00000003']);
  });

  it('goes by its texts and its order as well', async () => {
    const { fixture, context } = await officeWith(3);
    await setNodes(fixture.registry, [1, 2, 3], { description: { site: 'north', tags: ['pump'] } });
    for (const [select, name] of [
      [{ site: ['north'] }, 'site'],
      [{ tag: ['pump'] }, 'tag'],
      [{ search: 'NORTH' }, 'search'],
    ] as const) {
      const other = { description: { site: 'south', tags: ['valve'] } };
      const approve = async (): Promise<void> => void (await setNodes(fixture.registry, [2], other));
      const changing = call(nodesSet, { ...context, approve }, { select, lifetime_seconds: 60 + name.length });
      expect([name, await changing]).toEqual([name, { changed: 2, unchanged: 0, passed_over: 1 }]);
      await setNodes(fixture.registry, [2], { description: { site: 'north', tags: ['pump'] } });
    }
  });
});

describe('a change of more nodes than a write takes', () => {
  it('says how many were done when a later part fails', async () => {
    const { fixture, context } = await officeWith(MANY);
    const last = [MANY, MANY - 1];
    /** The last node is gone as its part is written. */
    const afterPart = async (): Promise<void> => void (await removeNodes(fixture.registry, last.splice(0, 1)));
    const disabling = { select: { order: 1 }, change: { kind: 'disable' } } as const;
    await expect(call(nodesChangeMany, { ...context, afterPart }, disabling)).rejects.toMatchObject({
      name: 'PartlyDone',
      message: '4096 of 4098 nodes were done: node 00001002 is not in the registry',
      advice: 'What was done stays done. Run the command again for the rest.',
      exitCode: 1,
    });
    expect((await call(nodesCount, context, {})).states).toMatchObject({ disabled: 4_096 });
    const output = new Output();
    const resetting = { ...context, openOutput: output.open, afterPart };
    await expect(call(nodesReset, resetting, { order: 1, ...NOT_APPLICABLE })).rejects.toMatchObject({
      name: 'PartlyDone',
      message: '4096 of 4097 nodes were reset, and no manifest has their new initial keys: node 00001001 is not in the registry',
      advice: 'Run the command again: it generates initial keys anew.',
      exitCode: 1,
    });
    expect([await resets(fixture), output.lines.length]).toEqual([4_096, 0]);
  });
});
