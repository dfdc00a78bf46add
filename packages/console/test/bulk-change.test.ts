// A change of many nodes: what the API is asked for, and what takes the change back.

import type { ManyNodesChange, NodeView } from '@latchkey/operations/contract';
import { describe, expect, it } from 'vitest';
import { changeOf, EMPTY_INPUT, inverseOf, selectionOf, wrongFields } from '../src/bulk-change.js';
import { readNodeFilters } from '../src/url-state.js';

const NODE: NodeView = {
  id: '00000001',
  state: 'joined',
  controller: '000000c1',
  order: 3,
  key: 'a1b2',
  key_is_initial: false,
  split: false,
  lifetime_seconds: 86_400,
  grace_seconds: 3_600,
  added_at: '2026-11-01T12:00:00.000Z',
  joined_at: '2026-11-02T12:00:00.000Z',
  renewed_at: null,
  expires_at: null,
  address: null,
  tid: null,
  name: null,
  site: null,
  location: null,
  tags: ['pump'],
  note: null,
};
const node = (id: string, more: Partial<NodeView> = {}): NodeView => ({ ...NODE, id, ...more });

describe('the filters of the page as the API takes them', () => {
  const now = Date.parse('2026-11-29T10:00:00Z');
  const select = (query: string): unknown => selectionOf(readNodeFilters(new URLSearchParams(query)), now);

  it('are the same filters under their names', () => {
    const query =
      'state=joined&state=expired&order=3&controller=00000002&never_joined=true&expires_in_days=7&starts=7a3&site=North&tag=pump&q=hall';
    expect(select(query)).toEqual({
      state: ['joined', 'expired'],
      order: 3,
      controller: '00000002',
      never_joined: true,
      expires_before: '2026-12-06T10:00:00.000Z',
      id_prefix: '7a3',
      site: ['North'],
      tag: ['pump'],
      search: 'hall',
    });
  });

  it('are the times of a day of the calendar', () => {
    const [from, before] = ['2026-12-23T23:00:00.000Z', '2026-12-24T23:00:00.000Z'];
    expect(select(`expires_from=${from}&expires_before=${before}`)).toEqual({ expires_from: from, expires_before: before });
  });

  it.each(['', 'order=3&order=4', 'controller=00000001&controller=00000002'])('are none of %s', (query) => {
    expect(select(query)).toBeUndefined();
  });
});

describe('what takes a change back', () => {
  it.each<[ManyNodesChange, readonly NodeView[], unknown]>([
    [
      { kind: 'disable' },
      [node('1'), node('2', { state: 'disabled' }), node('3')],
      { ids: ['1', '3'], change: { kind: 'enable' } },
    ],
    [{ kind: 'enable' }, [node('1'), node('2', { state: 'disabled' })], { ids: ['2'], change: { kind: 'disable' } }],
    [
      { kind: 'move', to: '000000c2' },
      [node('1'), node('2', { controller: '000000c2' })],
      { ids: ['1'], change: { kind: 'move', to: '000000c1' } },
    ],
    [{ kind: 'move', to: '000000c2' }, [node('1'), node('2', { controller: '000000c3' })], undefined],
    [
      { kind: 'set', lifetime_seconds: 60 },
      [node('1'), node('2', { grace_seconds: 0 })],
      { ids: ['1', '2'], change: { kind: 'set', lifetime_seconds: 86_400 } },
    ],
    [{ kind: 'set', lifetime_seconds: 60, grace_seconds: 60 }, [node('1'), node('2', { grace_seconds: 0 })], undefined],
    [
      { kind: 'describe', description: { add_tags: ['old'] } },
      [node('1'), node('2', { tags: ['old'] })],
      { ids: ['1'], change: { kind: 'describe', description: { remove_tags: ['old'] } } },
    ],
    [
      { kind: 'describe', description: { remove_tags: ['pump'] } },
      [node('1'), node('2', { tags: [] })],
      { ids: ['1'], change: { kind: 'describe', description: { add_tags: ['pump'] } } },
    ],
    [{ kind: 'describe', description: { site: 'North' } }, [node('1')], undefined],
    [{ kind: 'remove' }, [node('1')], undefined],
    [{ kind: 'disable' }, [node('1', { state: 'disabled' })], undefined],
  ])('%j', (change, nodes, inverse) => {
    expect(inverseOf(change, nodes)).toEqual(inverse);
  });
});

describe('what was typed', () => {
  it('is a change once it is complete', () => {
    expect(changeOf('move', { ...EMPTY_INPUT, controller: ' C2 ' })).toEqual({ kind: 'move', to: '000000c2' });
    expect(changeOf('set', { ...EMPTY_INPUT, lifetime: '90', grace: '0,5' })).toEqual({
      kind: 'set',
      lifetime_seconds: 7_776_000,
      grace_seconds: 43_200,
    });
    expect(changeOf('set', { ...EMPTY_INPUT, lifetime: '0.125' })).toEqual({ kind: 'set', lifetime_seconds: 10_800 });
    expect(changeOf('set', { ...EMPTY_INPUT, grace: '0' })).toEqual({ kind: 'set', grace_seconds: 0 });
    expect(changeOf('tag', { ...EMPTY_INPUT, tag: ' old ', takesTagAway: true })).toEqual({
      kind: 'describe',
      description: { remove_tags: ['old'] },
    });
    const site = (input: object): unknown => changeOf('site', { ...EMPTY_INPUT, ...input });
    expect(site({ site: ' Hall 3 ' })).toEqual({ kind: 'describe', description: { site: 'Hall 3' } });
    expect(site({ site: 'Hall 3', takesSiteAway: true })).toEqual({ kind: 'describe', description: { site: null } });
    expect(changeOf('remove', EMPTY_INPUT)).toEqual({ kind: 'remove' });
  });

  it('is wrong in the fields that cannot be read, and not in empty ones', () => {
    const wrong = { ...EMPTY_INPUT, controller: 'hall', lifetime: 'ninety', grace: '1.000' };
    expect(wrongFields(wrong)).toEqual(['controller', 'lifetime', 'grace']);
    expect(wrongFields({ ...EMPTY_INPUT, controller: ' C2 ', lifetime: '9' })).toEqual([]);
    expect(wrongFields(EMPTY_INPUT)).toEqual([]);
  });

  it('is none before', () => {
    for (const controller of ['', 'hall', '123456789']) expect(changeOf('move', { ...EMPTY_INPUT, controller })).toBeUndefined();
    for (const lifetime of ['', 'ninety', '-1', '1e3', '1.000', '1,000'])
      expect(changeOf('set', { ...EMPTY_INPUT, lifetime })).toBeUndefined();
    expect(changeOf('set', { ...EMPTY_INPUT, lifetime: '9', grace: 'x' })).toBeUndefined();
    expect(changeOf('tag', { ...EMPTY_INPUT, tag: ' ' })).toBeUndefined();
    expect(changeOf('site', { ...EMPTY_INPUT, site: ' ' })).toBeUndefined();
  });
});
