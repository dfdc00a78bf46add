// Joins/s that a model allows on more cores.

import { expect, it } from 'vitest';
import { modelRate } from '../src/cores/model.js';

const COSTS = [
  { name: 'controller', cpuUs: 300, mainThreadUs: 250 },
  { name: 'auth-server', cpuUs: 500, mainThreadUs: 500 },
];

it.each([
  [1, 1_250, 'the core'],
  [2, 2_000, 'the main thread of the auth-server'],
  [4, 2_000, 'the main thread of the auth-server'],
])('on %i cores are limited', (cores, perSecond, limitedBy) => {
  expect(modelRate(cores, COSTS)).toEqual({ perSecond, limitedBy });
});

it('are limited by all cores where no thread fills one', () => {
  const costs = COSTS.map(({ name, cpuUs }) => ({ name, cpuUs, mainThreadUs: cpuUs / 4 }));
  expect(modelRate(2, costs)).toEqual({ perSecond: 2_500, limitedBy: 'all cores' });
});
