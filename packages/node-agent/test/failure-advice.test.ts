// Proves that each way an attempt can fail is told in one sentence with the node, the controller,
// and what to do: by the key that the node holds.

import { type NodeState, Secret } from '@latchkey/protocol';
import { describe, expect, it } from 'vitest';
import type { AttemptResult } from '../src/attempt-result.js';
import { describeFailure } from '../src/failure-advice.js';

type Failed = Extract<AttemptResult, { kind: 'failed' }>;

const AT = { host: '2001:db8::1', port: 5683 };
const key = (octet: number): Secret => Secret.from(new Uint8Array(16).fill(octet));
const INSTALLED: NodeState = { idI: 0xa1b2, controllers: [1], confirmed: key(1), initial: true, candidates: [] };
const JOINED: NodeState = { ...INSTALLED, confirmed: key(2), initial: false };
const WHY = ['latchkey-auth-server', 'node', 'why', '0000a1b2'];
const DATA = ['--data', '/var/lib/latchkey/auth-server'];

function explained(result: Exclude<AttemptResult, { kind: 'joined' }>, state = INSTALLED): ReturnType<typeof describeFailure> {
  return describeFailure(result, { state, folder: '/var/lib/it', controller: AT });
}

function failed(reason: Failed['reason'], step: Failed['step'], state = INSTALLED): ReturnType<typeof describeFailure> {
  return explained({ kind: 'failed', step, reason }, state);
}

describe('a failed attempt', () => {
  const cases: [string, Exclude<AttemptResult, { kind: 'joined' }>, RegExp, RegExp][] = [
    [
      'with nobody there',
      { kind: 'failed', step: 'M1', reason: { kind: 'unreachable', code: 'ECONNREFUSED' } },
      /cannot reach its controller at \[2001:db8::1\]:5683 \(ECONNREFUSED\)$/,
      /Is the controller running/,
    ],
    [
      'with no answer',
      { kind: 'failed', step: 'M1', reason: { kind: 'no answer' } },
      /gets no answer from its controller at \[2001:db8::1\]:5683$/,
      /let UDP through\? .*may answer from another than was asked.*`listen:`/,
    ],
    [
      'with answers to M5 that do not open: the key is right',
      { kind: 'failed', step: 'M5', reason: { kind: 'undecryptable', answers: 3 } },
      /gets answers to M5 from \[2001:db8::1\]:5683, but none opens$/,
      /^Its key is right/,
    ],
    [
      'with four keys open',
      { kind: 'wait', forMs: 120_001 },
      /has four keys open and must wait 121 s before it may try a fifth$/,
      /by itself/,
    ],
  ];

  it.each(cases)('%s is told as such', (_, result, message, advice) => {
    const failure = explained(result);
    expect(failure).toMatchObject({ name: 'Failure', exitCode: 1, run: [] });
    expect(failure.message).toMatch(/^node 0000a1b2 /);
    expect(failure.message).toMatch(message);
    expect(failure.advice).toMatch(advice);
  });

  it.each([
    ['4.03', /does not have the node, .* its grace is over/, true],
    ['4.01', /another key for this node/, true],
    ['4.04', /forgotten the exchange/, false],
    ['4.29', /Too many requests/, false],
    ['5.03', /overloaded, its store takes no writes, the clocks .* differ, or the auth-server’s clock was set back/, true],
    ['5.04', /no answer from its auth-server/, true],
    ['4.05', /not what a Latchkey controller answers/, false],
    ['2.05', /not what a Latchkey controller answers/, false],
  ])('refused with %s has advice of its own', (code, advice, more) => {
    const failure = failed({ kind: 'refused', code, maxAge: undefined }, 'M5');
    expect(failure.message).toBe(`node 0000a1b2 is refused by its controller at [2001:db8::1]:5683 (${code} to M5)`);
    expect(failure.advice).toMatch(advice);
    expect(failure.run).toEqual(more ? [[...WHY, '--holds', INSTALLED.confirmed.fingerprint, ...DATA]] : []);
  });
});

describe('answers of which none opens', () => {
  const why = { kind: 'undecryptable', answers: 3 } as const;

  it('are told by the initial key to a node that has not joined', () => {
    const failure = failed(why, 'M1');
    expect(failure.message).toMatch(/none opens under its initial key \[secret [0-9a-f]{4}\]$/);
    expect(failure.advice).toMatch(/^It was installed with another key than the registry has/);
    expect(failure.run).toEqual([[...WHY, '--holds', INSTALLED.confirmed.fingerprint, ...DATA]]);
  });

  // It was told that its initial key differs, which it does not hold any more.
  it('are told by the key that it holds to a node that has joined, and by those that are open', () => {
    const failure = failed(why, 'M1', JOINED);
    expect(failure.message).toMatch(new RegExp(`none opens under its key \\[secret ${JOINED.confirmed.fingerprint}\\]$`));
    expect(failure.advice).toMatch(/^The registry has another key by now: the state of this device was copied or put back/);
    expect(`${failure.message}${failure.advice}`).not.toContain('initial key');
    const open = failed(why, 'M1', { ...JOINED, candidates: [{ psk: key(3), storedAt: 1 }] });
    expect(open.message).toContain('or the 1 that nobody confirmed');
  });

  it('are told to be of another controller where they say so', () => {
    const failure = failed({ ...why, foreign: 2 }, 'M1', JOINED);
    expect(failure.message).toBe(
      'node 0000a1b2 gets answers from [2001:db8::1]:5683, but from controller 00000002, and it was installed for 00000001',
    );
    const move = ['latchkey-node-agent', 'move', '--state', '/var/lib/it'];
    expect(failure.run).toEqual([[...move, '--controller', '[2001:db8::1]:5683', '--controller-id', '00000002']]);
    // A node that takes any controller tries what each says.
    expect(failed({ ...why, foreign: 2 }, 'M1', { ...JOINED, controllers: 'any' }).message).toContain('none opens');
  });
});
