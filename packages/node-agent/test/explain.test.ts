// Proves that each way an attempt can fail is told in one sentence with the node, the controller, and what to do.

import { describe, expect, it } from 'vitest';
import type { AttemptResult } from '../src/attempt.js';
import { explain } from '../src/explain.js';

type Failed = Extract<AttemptResult, { kind: 'failed' }>;

const AT = { host: '2001:db8::1', port: 5683 };

function failed(why: Failed['why'], step: Failed['step']): ReturnType<typeof explain> {
  return explain({ kind: 'failed', step, why }, 0xa1b2, AT);
}

describe('a failed attempt', () => {
  const cases: [string, Exclude<AttemptResult, { kind: 'joined' }>, RegExp, RegExp][] = [
    [
      'with nobody there',
      { kind: 'failed', step: 'M1', why: { kind: 'unreachable', code: 'ECONNREFUSED' } },
      /cannot reach its controller at \[2001:db8::1\]:5683 \(ECONNREFUSED\)$/,
      /Is the controller running/,
    ],
    [
      'with no answer',
      { kind: 'failed', step: 'M1', why: { kind: 'silent' } },
      /gets no answer from its controller at \[2001:db8::1\]:5683$/,
      /let UDP through\? .*may answer from another than was asked.*`listen:`/,
    ],
    [
      'with answers that do not open',
      { kind: 'failed', step: 'M1', why: { kind: 'not opened', answers: 3 } },
      /gets answers from \[2001:db8::1\]:5683, but none opens under its key$/,
      /initial key here differs/,
    ],
    [
      'with four keys open',
      { kind: 'wait', forMs: 120_001 },
      /has four keys open and must wait 121 s before it may try a fifth$/,
      /by itself/,
    ],
  ];

  it.each(cases)('%s is told as such', (_, result, message, advice) => {
    const failure = explain(result, 0xa1b2, AT);
    expect(failure).toMatchObject({ name: 'Failure', exitCode: 1 });
    expect(failure.message).toMatch(/^node 0000a1b2 /);
    expect(failure.message).toMatch(message);
    expect(failure.advice).toMatch(advice);
  });

  it.each([
    ['4.03', /latchkey-auth-server node why 0000a1b2/],
    ['4.01', /another key for this node/],
    ['4.04', /forgotten the exchange/],
    ['4.29', /Too many requests/],
    ['5.03', /overloaded, its store takes no writes, the clocks .* differ, or the auth-server’s clock was set back/],
    ['5.04', /no answer from its auth-server/],
    ['4.05', /not what a Latchkey controller answers/],
    ['2.05', /not what a Latchkey controller answers/],
  ])('refused with %s has advice of its own', (code, advice) => {
    const failure = failed({ kind: 'refused', code, maxAge: undefined }, 'M5');
    expect(failure.message).toBe(`node 0000a1b2 is refused by its controller at [2001:db8::1]:5683 (${code} to M5)`);
    expect(failure.advice).toMatch(advice);
  });
});
