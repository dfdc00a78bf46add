// Proves that nodes are described, found by their descriptions and shown with them; that a text is
// one that can be shown; and that no text gets into the audit log.

import { beforeEach, describe, expect, it } from 'vitest';
import { AdminFixture, newSecret } from '@latchkey/test-support/admin-fixture';
import {
  call,
  type Context,
  nodesChangeMany,
  nodesList,
  nodesPreviewChange,
  nodesRemove,
  nodesSet,
  nodesShow,
} from '../src/index.js';
import { type DescriptionChange, MAX_TAGS, type NodeFilter, TEXT_LIMITS } from '../src/contract/index.js';
import { changedDescription } from '../src/descriptions.js';

const N1 = '00000001';

let fixture: AdminFixture;
let context: Context;

beforeEach(async () => {
  fixture = await AdminFixture.open('memory');
  const clock = (): { wallMs: number; monotonicMs: number } => ({ wallMs: Date.now(), monotonicMs: Date.now() });
  context = { registry: fixture.registry, clock, actor: 'user ada' };
  await fixture.order({ 1: newSecret(), 2: newSecret(), 3: newSecret() });
});

async function describeNodes(ids: readonly string[], description: DescriptionChange): Promise<number> {
  return (await call(nodesSet, context, { select: { ids }, description })).changed;
}

async function matching(filter: NodeFilter): Promise<string[]> {
  return (await call(nodesList, context, { ...filter, limit: 100 })).items.map(({ id }) => id);
}

describe('the description of a node', () => {
  const texts = { name: 'Pump 3', site: 'Süd', location: 'pillar 7', note: 'replaced in June' };

  it('is set, shown, changed in part, and taken back', async () => {
    expect(await describeNodes([N1], { ...texts, add_tags: ['spare', 'pump', 'pump'] })).toBe(1);
    expect(await call(nodesShow, context, { id: N1 })).toMatchObject({ ...texts, tags: ['pump', 'spare'] });
    expect(await describeNodes([N1], { ...texts, add_tags: ['pump'] })).toBe(0);
    expect(await describeNodes([N1], { name: null, location: null, remove_tags: ['pump', 'none'] })).toBe(1);
    expect(await call(nodesShow, context, { id: N1 })).toMatchObject({
      name: null,
      location: null,
      site: 'Süd',
      tags: ['spare'],
    });
    expect(await describeNodes([N1], { tags: ['a'] })).toBe(1);
    expect(await call(nodesShow, context, { id: N1 })).toMatchObject({ note: texts.note, tags: ['a'] });
  });

  it('is in the log by its fields, and in the life of the node', async () => {
    const before = fixture.headSeq;
    await describeNodes([N1], texts);
    await describeNodes(['00000002'], texts);
    await describeNodes([N1], { tags: ['pump'] });
    expect(fixture.entriesAfter(before)).toMatchObject([
      { what: 'node described', node: N1, note: 'name, site, location, note' },
      { what: 'node described', node: '00000002' },
      { what: 'node described', node: N1, note: 'tags', previous_entry: before + 1 },
    ]);
    expect(JSON.stringify(fixture.entriesAfter(before))).not.toMatch(/Pump|Süd|pillar|June/);
    const { life } = await call(nodesShow, context, { id: N1 });
    expect(life.map(({ what, seq }) => [what, seq]).slice(-2)).toEqual([
      ['node described', before + 1],
      ['node described', before + 3],
    ]);
  });

  it('leaves a join that is under way alone', async () => {
    const judged = (await fixture.registry.node(1))!;
    await describeNodes([N1], texts);
    const commit = { idC: 1, tid: 5n, ts: Date.now(), nidI: new Uint8Array(18), lifetime: 60 };
    expect(await fixture.registry.commit(judged, newSecret(), commit, Date.now, () => true)).toBe('committed');
    await describeNodes([N1], { tags: ['pump'] });
    expect(await call(nodesShow, context, { id: N1 })).toMatchObject({ state: 'joined', ...texts, tags: ['pump'] });
  });

  it('changes with a lifetime in one write', async () => {
    const before = fixture.headSeq;
    const input = { select: { ids: [N1] }, lifetime_seconds: 7, description: { site: 'north' } };
    expect(await call(nodesSet, context, input)).toEqual({ changed: 1, unchanged: 0 });
    expect(
      fixture
        .entriesAfter(before)
        .map(({ what }) => what)
        .toSorted(),
    ).toEqual(['node described', 'node lifetime changed']);
    expect(await call(nodesShow, context, { id: N1 })).toMatchObject({ lifetime_seconds: 7, site: 'north' });
  });

  it('goes with its node', async () => {
    await describeNodes([N1], texts);
    await call(nodesRemove, context, { select: { ids: [N1] } });
    expect(await fixture.registry.nodeDescription(1)).toBeUndefined();
  });

  it('has a name for one node only', async () => {
    const select = { order: 1 };
    await expect(call(nodesSet, context, { select, description: { name: 'Pump' } })).rejects.toThrow(
      'a name is of one node, and 3 are selected',
    );
    expect(await call(nodesSet, context, { select, description: { name: null, site: 'north' } })).toMatchObject({ changed: 3 });
  });
});

describe('nodes are found', () => {
  beforeEach(async () => {
    await describeNodes([N1], { name: 'Pump 3', site: 'north', tags: ['pump'] });
    await describeNodes(['00000003'], { site: 'south', location: 'Pillar 7', note: 'near the PUMP', tags: ['valve', 'spare'] });
  });

  it.each<[string, NodeFilter, string[]]>([
    ['by site', { site: ['north'] }, [N1]],
    ['by one of two sites', { site: ['north', 'south'] }, [N1, '00000003']],
    ['by tag', { tag: ['spare', 'other'] }, ['00000003']],
    ['by site and tag', { site: ['north'], tag: ['spare'] }, []],
    ['by text, in capitals or not', { search: 'pump' }, [N1, '00000003']],
    ['by a part of the location', { search: 'pillar' }, ['00000003']],
    ['by a part of the ID', { search: '0002' }, ['00000002']],
    ['by text and another filter', { search: 'pump', never_joined: true, order: 1, site: ['south'] }, ['00000003']],
    ['after a time', { joined_since: '2020-01-01T00:00:00Z' }, []],
  ])('%s', async (_, filter, ids) => {
    expect(await matching(filter)).toEqual(ids);
  });

  it('in the middle of a list, too', async () => {
    const { items, next } = await call(nodesList, context, { search: 'pump', after: N1, limit: 1 });
    expect([items.map(({ id }) => id), next]).toEqual([['00000003'], null]);
  });

  it('and described together, after a look at how many are so already', async () => {
    const change = (description: DescriptionChange): { kind: 'describe'; description: DescriptionChange } => ({
      kind: 'describe',
      description,
    });
    const input = { select: { search: 'pump' }, change: change({ site: 'north', add_tags: ['seen'] }) };
    const { count, already_so: alreadySo } = await call(nodesPreviewChange, context, input);
    expect([count, alreadySo]).toEqual([2, 0]);
    expect(await call(nodesChangeMany, context, input)).toEqual({ changed: 2, unchanged: 0 });
    expect(await call(nodesPreviewChange, context, input)).toMatchObject({ count: 2, already_so: 2 });
    expect(await matching({ tag: ['seen'] })).toEqual([N1, '00000003']);
    await expect(call(nodesPreviewChange, context, { ...input, change: change({ name: 'Pump' }) })).rejects.toThrow(
      'a name is of one node',
    );
  });

  it('and changed, after a look at which they are', async () => {
    const seen: unknown[] = [];
    const approve = (preview: unknown): Promise<void> => Promise.resolve(void seen.push(preview));
    const input = { select: { tag: ['pump'] }, description: { site: 'east' } };
    expect(await call(nodesSet, { ...context, approve }, input)).toEqual({ changed: 1, unchanged: 0 });
    expect(seen).toEqual([{ count: 1, examples: [N1] }]);
    await expect(call(nodesSet, context, { ...input, select: {} })).rejects.toThrow('expected IDs, or a filter');
  });
});

describe('a text', () => {
  it.each<[string, DescriptionChange, string]>([
    ['with a line break', { note: 'a\nb' }, 'description.note: expected one line'],
    ['with an escape', { name: 'a\u001b[31m' }, 'description.name: expected one line'],
    ['that turns the reading direction', { site: 'a\u202eb' }, 'description.site: expected one line'],
    ['with a line separator', { location: 'a\u2028b' }, 'description.location: expected one line'],
    ['with half a character', { name: 'a\ud83d' }, 'description.name: expected one line'],
    ['that is too long', { name: 'é'.repeat(TEXT_LIMITS.name + 1) }, `description.name: expected ${TEXT_LIMITS.name} characters`],
    ['of nothing', { name: ' \t ' }, 'description.name: expected some text'],
    ['as a tag with a line break', { add_tags: ['a\nb'] }, 'description.add_tags.0: expected one line'],
    ['beside nothing', {}, 'description: expected a text or tags'],
    ['as tags in two ways', { tags: ['a'], add_tags: ['b'] }, 'description: expected tags, or tags to add'],
  ])('%s is refused', async (_, description, message) => {
    await expect(describeNodes([N1], description)).rejects.toThrow(message);
  });

  it('is kept composed, without blanks around it, up to its length in characters', async () => {
    const wide = '😀'.repeat(TEXT_LIMITS.name);
    await describeNodes([N1], { site: '  Su\u0308d ', name: wide });
    expect(await call(nodesShow, context, { id: N1 })).toMatchObject({ site: 'S\u00fcd', name: wide });
    expect(await matching({ site: ['Su\u0308d'] })).toEqual([N1]);
  });

  it('is no tag of a node that has enough', async () => {
    const tags = Array.from({ length: MAX_TAGS }, (_, i) => `tag ${i}`);
    expect(changedDescription(undefined, { tags })?.fields).toEqual(['tags']);
    await describeNodes([N1], { tags });
    await expect(describeNodes([N1], { add_tags: ['one more'] })).rejects.toThrow(`a node has ${MAX_TAGS} tags at most`);
    expect(await describeNodes([N1], { add_tags: ['one more'], remove_tags: ['tag 1'] })).toBe(1);
  });
});
