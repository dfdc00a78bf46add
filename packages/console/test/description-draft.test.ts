// What somebody typed about a node: a change of those fields only.

import { expect, it } from 'vitest';
import { changeFrom, differences, draftOf } from '../src/description-draft.js';

const BEFORE = { name: 'Pump 3', site: 'Plant 2', location: null, tags: ['pump', 'spare'], note: 'behind the silo' };
const DRAFT = draftOf(BEFORE);

it('a draft that nobody typed in changes nothing', () => {
  expect(DRAFT).toEqual({ name: 'Pump 3', site: 'Plant 2', location: '', tags: 'pump, spare', note: 'behind the silo' });
  expect(changeFrom(DRAFT, BEFORE)).toEqual({});
  expect(changeFrom({ ...DRAFT, name: ' Pump 3 ' }, BEFORE)).toEqual({});
});

it('a change has the fields that were typed in; an empty one is taken away', () => {
  expect(changeFrom({ ...DRAFT, name: ' Pump 4 ', note: ' ' }, BEFORE)).toEqual({ name: 'Pump 4', note: null });
  expect(changeFrom({ ...DRAFT, tags: 'old, pump,, old ' }, BEFORE)).toEqual({ tags: ['old', 'pump'] });
  expect(changeFrom({ ...DRAFT, tags: '' }, BEFORE)).toEqual({ tags: [] });
});

it('what others changed is shown field by field', () => {
  expect(differences(DRAFT, { ...DRAFT, location: 'pillar 7' })).toEqual([{ field: 'location', before: '', now: 'pillar 7' }]);
});
