// Proves which words a node gets in `node show`.

import type { NodeView } from '@latchkey/operations/contract';
import { describe, expect, it } from 'vitest';
import { nodeFields } from '../src/commands/node-table.js';

const ENROLLED: NodeView = {
  id: '0000a1b2',
  state: 'enrolled',
  controller: '00000001',
  order: 1,
  key: '1b21',
  key_is_initial: true,
  split: false,
  lifetime_seconds: 1_000,
  grace_seconds: 10,
  added_at: '2026-11-24T15:31:19.975Z',
  joined_at: null,
  renewed_at: null,
  expires_at: null,
  address: null,
  tid: null,
  name: null,
  site: null,
  location: null,
  tags: [],
  note: null,
};

describe('a node in words', () => {
  it('has nothing where there is nothing', () => {
    const shown = Object.entries(nodeFields(ENROLLED)).filter(([, value]) => value !== undefined);
    expect(shown.map(([name]) => name)).toEqual(['id', 'state', 'controller', 'order', 'key', 'lifetime', 'added', 'joined']);
  });

  it('has what people know of it before the rest', () => {
    const described = { ...ENROLLED, name: 'Pump 3', site: 'north', tags: ['pump', 'spare'] };
    const shown = Object.entries(nodeFields(described)).filter(([, value]) => value !== undefined);
    expect(shown.slice(0, 4)).toEqual([
      ['id', '0000a1b2'],
      ['name', 'Pump 3'],
      ['site', 'north'],
      ['tags', 'pump, spare'],
    ]);
  });

  it('says which key it is, and how long that lasts', () => {
    expect(nodeFields(ENROLLED)).toMatchObject({ lifetime: '1000s, grace 10s', key: '[secret 1b21], the initial key' });
    expect(nodeFields({ ...ENROLLED, key_is_initial: false })).toMatchObject({ key: '[secret 1b21]' });
  });
});
