// Proves who may connect to a key socket.

import { describe, expect, it } from 'vitest';
import { ConnectionLimits, mayConnect } from '../src/access.js';

const OWN = 990;
const GROUP = 400;
const rules = { ownUid: OWN, gid: GROUP, hasIdentityIdMaps: true };
const peer = (uid: number, ...groups: number[]): { uid: number; groups: number[] } => ({ uid, groups });

describe('a peer', () => {
  it('is let in as the daemon itself, as root, and in the group of the socket', () => {
    expect(mayConnect(peer(OWN, 1), rules)).toBe(true);
    expect(mayConnect(peer(0, 0), rules)).toBe(true);
    expect(mayConnect(peer(1000, GROUP), rules)).toBe(true);
    expect(mayConnect(peer(1000, 1000, 27, GROUP), rules)).toBe(true);
  });

  it('is refused as anybody else, even where the file mode lets it connect', () => {
    expect(mayConnect(peer(1000, 1000, 27), rules)).toBe(false);
    expect(mayConnect(peer(1000, GROUP), { ...rules, gid: undefined })).toBe(false);
    expect(mayConnect(peer(1000), rules)).toBe(false);
  });

  it('is refused without credentials, and as the user that stands for all without a number', () => {
    expect(mayConnect(undefined, rules)).toBe(false);
    expect(mayConnect(peer(65_534, GROUP), rules)).toBe(false);
    expect(mayConnect(peer(65_534, GROUP), { ...rules, ownUid: 65_534 })).toBe(false);
    expect(mayConnect(peer(1000, 65_534), { ...rules, gid: 65_534 })).toBe(false);
  });

  it('is let in as the daemon itself only where a user namespace maps IDs', () => {
    const mapped = { ...rules, hasIdentityIdMaps: false };
    expect(mayConnect(peer(OWN), mapped)).toBe(true);
    expect(mayConnect(peer(0, 0), mapped)).toBe(false);
    expect(mayConnect(peer(1000, GROUP), mapped)).toBe(false);
  });
});

describe('connections', () => {
  it('are limited by user and in all, and count no longer once they are over', () => {
    const limits = new ConnectionLimits(2, 3);
    expect([limits.admit(1), limits.admit(1), limits.admit(1)]).toEqual([true, true, false]);
    expect([limits.admit(2), limits.admit(3)]).toEqual([true, false]);
    limits.release(1);
    expect(limits.all).toBe(2);
    expect([limits.admit(3), limits.admit(1)]).toEqual([true, false]);
  });
});
