// Proves that a package which is written in another way than a change expects fails the build.

import { expect, it } from 'vitest';
import { patchSource } from '../src/source-patches.js';

it('fails the build where a package is written in another way', () => {
  expect(() => patchSource('const something = 1;', '/x/sonic-boom/index.js')).toThrow('index.js is written in another way');
});

it('leaves as it is what is not to be changed', () => {
  expect(patchSource('const something = 1;', '/x/sonic-boom/other.js')).toBeUndefined();
});
