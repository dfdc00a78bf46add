// Proves that requests that wait leave in the order they came in, whole, and that no more wait than
// there is room for.

import type { RemoteInfo } from 'node:dgram';
import { describe, expect, it } from 'vitest';
import { HeldRequests } from '../src/held-requests.js';

const CAPACITY = 16_384;

function request(n: number, octets = Buffer.from(`request ${n}`)) {
  const source: RemoteInfo = { address: `192.0.2.${n % 256}`, family: 'IPv4', port: n, size: octets.length };
  return { receiver: 'server', octets, source, key: `key ${n}` };
}

describe('requests that wait', () => {
  it('leave in the order they came in, or from the end, as they were', () => {
    const held = new HeldRequests<string>();
    const octets = Buffer.from('request 0');
    expect(held.add(request(0, octets))).toBe(true);
    // The kernel's next datagram may lie where this one lay.
    octets.fill(0);
    for (let n = 1; n < 5; n++) held.add(request(n));
    expect([held.shift(), held.pop(), held.shift(), held.pop()]).toEqual([request(0), request(4), request(1), request(3)]);
    expect([held.length, held.nextReceiver]).toEqual([1, 'server']);
    expect([held.pop(), held.pop(), held.shift(), held.nextReceiver, held.length]).toEqual([
      request(2),
      undefined,
      undefined,
      undefined,
      0,
    ]);
  });

  it('are known by their key while they wait', () => {
    const held = new HeldRequests<string>();
    for (let n = 0; n < 3; n++) held.add(request(n));
    held.shift();
    held.pop();
    expect([0, 1, 2].map((n) => held.has(`key ${n}`))).toEqual([false, true, false]);
  });

  it('keep what they are while others come and go where they were', () => {
    const held = new HeldRequests<string>();
    for (let n = 0; n < 10; n++) held.add(request(n));
    for (let n = 10; n < 3 * CAPACITY; n++) {
      held.add(request(n));
      expect(held.shift()?.octets.toString()).toBe(`request ${n - 10}`);
    }
    expect(held.length).toBe(10);
  });

  it('are as many as there is room for, in 64 octets each', () => {
    const held = new HeldRequests<string>();
    expect(held.add(request(0, Buffer.alloc(65)))).toBe(false);
    for (let n = 0; n < CAPACITY; n++) held.add(request(n, Buffer.alloc(64, n)));
    expect([held.length, held.add(request(CAPACITY))]).toEqual([CAPACITY, false]);
    held.pop();
    expect(held.add(request(CAPACITY))).toBe(true);
    expect(held.shift()).toEqual(request(0, Buffer.alloc(64)));
  });
});
