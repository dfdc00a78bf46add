// What somebody typed about a node or a controller: a change of those fields only.

import { expect, it } from 'vitest';
import { changeFrom, differences, draftOf, draftOnTop } from '../src/description-draft.js';

const BEFORE = { name: 'Pump 3', site: 'Plant 2', location: null, tags: ['pump', 'spare'], note: 'behind the silo' };
const DRAFT = draftOf('node', BEFORE);

it('a draft that nobody typed in changes nothing', () => {
  expect(DRAFT).toEqual({ name: 'Pump 3', site: 'Plant 2', location: '', tags: 'pump, spare', note: 'behind the silo' });
  expect(changeFrom(DRAFT, DRAFT)).toEqual({});
  expect(changeFrom(DRAFT, { ...DRAFT, name: ' Pump 3 ' })).toEqual({});
});

it('a change has the fields that were typed in; an empty one is taken away', () => {
  expect(changeFrom(DRAFT, { ...DRAFT, name: ' Pump 4 ', note: ' ' })).toEqual({ name: 'Pump 4', note: null });
  expect(changeFrom(DRAFT, { ...DRAFT, tags: 'old, pump,, old ' })).toEqual({ tags: ['old', 'pump'] });
  expect(changeFrom(DRAFT, { ...DRAFT, tags: 'spare,pump' })).toEqual({});
  expect(changeFrom(DRAFT, { ...DRAFT, tags: '' })).toEqual({ tags: [] });
});

it('what others changed is shown field by field', () => {
  expect(differences(DRAFT, { ...DRAFT, location: 'pillar 7' })).toEqual([{ field: 'location', before: '', now: 'pillar 7' }]);
});

it('what was typed is put on top of what others saved, and tags one by one', () => {
  const typed = { ...DRAFT, name: 'Pump 4', tags: 'pump, old' };
  const now = { ...DRAFT, name: 'Pump 5', location: 'pillar 7', tags: 'pump, spare, north' };
  expect(draftOnTop(DRAFT, typed, now)).toEqual({ ...now, name: 'Pump 4', tags: 'pump, north, old' });
});

it('a controller has texts of its own, and a change is taken back by what was before', () => {
  const before = draftOf('controller', { name: null, site: 'north', contact: 'Ada' });
  expect(before).toEqual({ name: '', site: 'north', contact: 'Ada' });
  const after = { ...before, name: 'Hall N', contact: '' };
  expect(changeFrom(before, after)).toEqual({ name: 'Hall N', contact: null });
  expect(changeFrom(after, before)).toEqual({ name: null, contact: 'Ada' });
});
