// Requests of commands to be signed in: what is bounded, and what a flood cannot do.

import { describe, expect, it } from 'vitest';
import { LoginRequests } from '../src/command-login/login-requests.js';

const CLAIMED = { machine: 'laptop', context: 'plant', scopes: undefined, lifetimeSeconds: 60 };
const MAX = 256;

describe('requests of commands to be signed in', () => {
  it('have codes that can be typed in any case and with any separator, and no code twice', () => {
    const requests = new LoginRequests<string>();
    const codes = Array.from({ length: MAX }, () => requests.add(CLAIMED, '192.0.2.1')?.code ?? '');
    expect(new Set(codes).size).toBe(MAX);
    for (const code of codes) expect(code).toMatch(/^[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}$/);
    const [first = ''] = codes;
    for (const typed of [first, first.toLowerCase(), first.replace('-', ''), ` ${first.replace('-', ' ')} `])
      expect(requests.find(typed)?.code).toBe(first);
    expect(['', '-', first.slice(1), `${first}B`].map((typed) => requests.find(typed))).toEqual(Array(4).fill(undefined));
  });

  it('are evicted from the address that has most of them, and not while a person looks at them', () => {
    const requests = new LoginRequests<string>();
    const honest = requests.add(CLAIMED, '198.51.100.1');
    const flood = Array.from({ length: MAX - 1 }, (_, i) => requests.add(CLAIMED, `192.0.2.${1 + (i % 5)}`));
    const seen = requests.find(flood[0]?.code ?? '');
    if (seen !== undefined) seen.foundBy = 'ada';
    for (let i = 0; i < 2 * MAX; i++) expect(requests.add(CLAIMED, `2001:db8::${i}`)).toBeDefined();
    expect(requests.take(honest?.secret ?? '')?.code).toBe(honest?.code);
    expect(requests.take(flood[0]?.secret ?? '')?.code).toBe(flood[0]?.code);
    // All of one /64 count as one address: six have an equal share.
    const left = flood.filter((one) => requests.take(one?.secret ?? '') !== undefined);
    expect(Math.abs(left.length - (5 * MAX) / 6)).toBeLessThan(6);
  });

  it('are refused if persons look at all others', () => {
    const requests = new LoginRequests<string>();
    for (let i = 0; i < MAX; i++) {
      const found = requests.find(requests.add(CLAIMED, `192.0.2.${i}`)?.code ?? '');
      if (found !== undefined) found.foundBy = 'ada';
    }
    expect(requests.add(CLAIMED, '198.51.100.1')).toBeUndefined();
  });

  it('expire after 10 minutes, and what was decided by then can be fetched for another minute, once', () => {
    let nowMs = 0;
    const requests = new LoginRequests<string>(() => nowMs);
    const [decided, other] = [requests.add(CLAIMED, undefined), requests.add(CLAIMED, undefined)];
    nowMs = 10 * 60_000 - 1;
    const found = requests.find(decided?.code ?? '');
    if (found !== undefined) found.decision = { kind: 'confirmed', confirmation: 'yes' };
    expect(requests.find(decided?.code ?? '')).toBeUndefined();
    expect(requests.take(other?.secret ?? '')?.decision).toBeUndefined();
    nowMs += 2;
    expect(requests.find(other?.code ?? '')).toBeUndefined();
    expect(requests.take(other?.secret ?? '')).toBeUndefined();
    nowMs += 59_000;
    expect(requests.take(decided?.secret ?? '')?.decision).toEqual({ kind: 'confirmed', confirmation: 'yes' });
    expect(requests.take(decided?.secret ?? '')).toBeUndefined();
    const late = requests.find(requests.add(CLAIMED, undefined)?.code ?? '');
    if (late !== undefined) late.decision = { kind: 'refused' };
    nowMs += 11 * 60_000 + 1;
    expect(requests.find(late?.code ?? '')).toBeUndefined();
  });
});
