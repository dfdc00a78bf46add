// Every attack of the table does what the table says: it works against the draft, and against the
// profile only where users are told.

import { describe, expect, it } from 'vitest';
import { play } from '../src/attack.js';
import { ATTACKS } from '../src/attacks.js';

/**
 * What no implementation can help. One more or one less is a change of what is promised
 * (docs/SECURITY.md).
 */
const INHERENT = ['offline guessing of a weak IK', 'installer with IK, listening'];

it('the attacks that work here too are those that users are told of', () => {
  expect(ATTACKS.filter(({ inherent }) => inherent).map(({ name }) => name)).toEqual(INHERENT);
});

describe('works against the draft read literally, and fails against the profile:', () => {
  it.each(ATTACKS.filter(({ inherent }) => !inherent).map((attack) => [attack.name, attack] as const))(
    '%s',
    async (_, attack) => {
      expect(await play(attack)).toMatchObject({ againstDraft: 'succeeds', againstProfile: 'fails', asDocumented: true });
    },
  );
});

describe('works against both:', () => {
  it.each(ATTACKS.filter(({ inherent }) => inherent).map((attack) => [attack.name, attack] as const))('%s', async (_, attack) => {
    expect(await play(attack)).toMatchObject({ againstDraft: 'succeeds', againstProfile: 'succeeds', asDocumented: true });
  });
});
