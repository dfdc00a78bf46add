// Whether a controller needs somebody, and which of its link keys it used last.

import type { ControllerView } from '@latchkey/operations/contract';
import { expect, it } from 'vitest';
import { healthOf } from '../src/controller-health.js';
import { keyUseOf } from '../src/controller-key.js';

const NOW = Date.parse('2026-11-29T12:00:00Z');
const WELL: ControllerView = {
  id: '00000001',
  nid: '192.0.2.1:5683',
  servers: [],
  key: 'c80b',
  staged_key: null,
  pass_through: false,
  pass_through_switched_at: null,
  added_at: '2026-11-01T12:00:00.000Z',
  last_seen_at: '2026-11-29T11:59:50.000Z',
  used_key: 'c80b',
  used_key_since: '2026-11-01T12:05:00.000Z',
  used_key_requests: 12_345,
  used_key_ratio: 0.000006,
  authentication_failing_since: null,
  clock_skew_ms: null,
  clock_skewed_since: null,
  clock_skewed_at: null,
  clock_skewed_requests: null,
  name: null,
  site: null,
  contact: null,
};

it.each([
  ['well', {}],
  ['well', { last_seen_at: '2026-11-29T11:49:01.000Z' }],
  ['silent', { last_seen_at: '2026-11-29T11:48:59.000Z' }],
  ['unheard', { last_seen_at: null }],
  ['clock', { clock_skew_ms: -42_000 }],
  ['key', { authentication_failing_since: '2026-11-29T08:12:00.000Z', clock_skew_ms: -42_000, last_seen_at: null }],
] as const)('a controller is %s with %o', (health, more) => {
  expect(healthOf({ ...WELL, ...more }, NOW)).toBe(health);
});

it.each([
  ['current', {}],
  ['old', { staged_key: '91ee' }],
  ['former', { used_key: '77c0' }],
  ['neither', { authentication_failing_since: '2026-11-29T08:12:00.000Z', staged_key: '91ee' }],
  ['none', { last_seen_at: null, used_key: null, staged_key: '91ee' }],
  ['unknown', { used_key: null }],
] as const)('the link key that a controller used last is %s with %o', (use, more) => {
  expect(keyUseOf({ ...WELL, ...more })).toBe(use);
});
