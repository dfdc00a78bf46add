import { expect, it } from 'vitest';
import { forgetDrafts, hasDraft, keepDraft } from '../src/kept-drafts.js';

it('the draft that was typed into longest ago is forgotten, of more than 64', () => {
  for (let i = 0; i < 64; i++) keepDraft(`form ${i}`, i);
  keepDraft('form 0', 'typed again');
  keepDraft('form 64', 64);
  expect([0, 1, 2, 64].map((i) => hasDraft(`form ${i}`))).toEqual([true, false, true, true]);
  forgetDrafts();
  expect(hasDraft('form 0')).toBe(false);
});
