// Proves that nodes are counted by what keeps them from joining and what is to be done, under every
// filter, and that those which need nothing come last.

import { beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { lockFolder } from '@latchkey/runtime/files';
import { AdminFixture, C1, C2, newSecret } from '@latchkey/test-support/admin-fixture';
import { call, type Context, nodesDiagnose, nodesDiagnoseGroups, setDisabled, setOrderState } from '../src/index.js';
import type { DiagnosisGroups, NodeFilter } from '../src/contract/index.js';

let fixture: AdminFixture;
let context: Context;

beforeEach(async () => {
  fixture = await AdminFixture.open('memory');
  const { registry } = fixture;
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  context = { registry, clock, actor: 'user ada' };
  // A server that runs, as far as its lock tells.
  const lock = await lockFolder(registry.folder, 'latchkey-auth-server run');
  onTestFinished(() => lock.release());
  await registry.saveClockHistory((history) => history, Date.now());
  const ik = newSecret();
  await fixture.order({ 1: ik, 2: newSecret(), 3: newSecret() });
  await fixture.order({ 11: newSecret(), 12: newSecret() }, { idC: C2 });
  await fixture.order({ 21: newSecret(), 22: newSecret() }, { installer: 'Ada' });
  await fixture.order({ 31: newSecret() });
  await fixture.join(1, ik, { idC: C1 });
  await setDisabled(registry, [2, 3, 12], true);
  await setOrderState(registry, 3, 'suspended');
  await setOrderState(registry, 4, 'suspended');
});

function groupsOf(filter: NodeFilter): Promise<DiagnosisGroups> {
  return Promise.resolve(call(nodesDiagnoseGroups, context, { filter }));
}

describe('many nodes', () => {
  it('are counted by cause and by what is to be done, those that are well last', async () => {
    const { nodes, groups } = await groupsOf({});
    expect(nodes).toBe(8);
    const found = groups.map((group) => [group.cause, group.nodes, group.examples, group.action.kind]);
    expect(found[0]).toEqual(['disabled', 3, ['00000002', '00000003', '0000000c'], 'enable-node']);
    expect(found[1]).toEqual(['outside-join-window', 2, ['00000015', '00000016'], 'resume-order']);
    expect(found.at(-1)).toEqual(['joined', 1, ['00000001'], 'none']);
    // Another order wants another command.
    expect(groups.filter(({ cause }) => cause === 'outside-join-window').map(({ action }) => action)).toEqual([
      { kind: 'resume-order', order: 3 },
      { kind: 'resume-order', order: 4 },
    ]);
    expect(groups.reduce((sum, group) => sum + group.nodes, 0)).toBe(nodes);
  });

  it('are told what the first of each group would be told', async () => {
    for (const { cause, examples, sentence, action } of (await groupsOf({})).groups)
      expect(await call(nodesDiagnose, context, { id: examples[0]! })).toMatchObject({ cause, sentence, action });
  });

  it.each<[string, NodeFilter, number]>([
    ['of an order', { order: 1 }, 3],
    ['of a controller', { controller: '00000002' }, 2],
    ['of an installer', { installer: 'Ada' }, 2],
    ['in a state', { state: ['disabled'] }, 3],
    ['of a site where there are none', { site: ['north'] }, 0],
  ])('%s are looked at', async (_, filter, nodes) => {
    expect((await groupsOf(filter)).nodes).toBe(nodes);
  });

  it('of an order that does not exist are no answer', async () => {
    await expect(groupsOf({ order: 99 })).rejects.toThrow('there is no order 99');
  });

  it('are read many at once', async () => {
    await fixture.order(Object.fromEntries(Array.from({ length: 300 }, (_, i) => [0x1000 + i, newSecret()])));
    const read = vi.spyOn(fixture.registry.storage, 'read');
    expect((await groupsOf({ order: 5 })).nodes).toBe(300);
    expect(read.mock.calls.length).toBeLessThan(40);
  });

  it('are shown by progress, and let other walks have their turns between two pages', async () => {
    const more = Array.from({ length: 600 }, (_, i) => [0x1000 + i, newSecret()] as const);
    await fixture.order(Object.fromEntries(more));
    const seen: number[] = [];
    const seenAtTurns: number[] = [];
    let isTurn = false;
    const progress: Context['progress'] = (what, total, work) => {
      expect([what, total]).toEqual(['diagnosing', 608]);
      return work((done) => {
        expect(isTurn).toBe(true);
        seen.push(done);
      });
    };
    const inTurn: Context['inTurn'] = async (walk) => {
      expect(isTurn).toBe(false);
      isTurn = true;
      seenAtTurns.push(seen.length);
      try {
        return await walk();
      } finally {
        isTurn = false;
      }
    };
    await call(nodesDiagnoseGroups, { ...context, progress, inTurn }, { filter: {} });
    expect(seen).toEqual(Array.from({ length: 608 }, (_, i) => i + 1));
    // Turns of other walks lie between any two of these.
    expect(seenAtTurns.filter((nodes) => nodes > 0 && nodes < 608).length).toBeGreaterThan(0);
  });
});
