import { UsageFailure } from '@latchkey/runtime/failure';
import { describe, expect, it } from 'vitest';
import { type Role, ROLES, scopesOf } from '../src/access.js';
import { LocalUsers, type LocalUsersOptions } from '../src/local-users.js';

const OWN = 998;

function users(more: Partial<LocalUsersOptions> = {}): LocalUsers {
  const findUserId = (name: string): number | undefined => ({ ops: 1_000, nobody: 65_534, root: 0 })[name];
  return new LocalUsers({ roles: {}, ownUid: OWN, hasIdentityIdMaps: true, findUserId, ...more });
}
const peer = (uid: number): { uid: number; groups: number[] } => ({ uid, groups: [] });

function roleOf(uid: number, from: LocalUsers): Role | undefined {
  const scopes = from.find(peer(uid))?.scopes;
  return ROLES.find((role) => scopes !== undefined && [...scopesOf(role)].join(' ') === [...scopes].join(' '));
}

describe('a user of this machine', () => {
  it('is an administrator as root, and as the user of the API', () => {
    expect([0, OWN].map((uid) => roleOf(uid, users()))).toEqual(['admin', 'admin']);
  });

  it('has the role of `api.local`, by name or by uid, and otherwise none', () => {
    const some = users({ roles: { ops: 'operator', '1001': 'viewer' } });
    expect([1_000, 1_001, 1_002].map((uid) => roleOf(uid, some))).toEqual(['operator', 'viewer', undefined]);
    expect(some.find(peer(1_000))?.id).toBe('uid 1000');
  });

  it('is unknown without credentials, and as a uid that stands for no user', () => {
    expect([undefined, peer(65_534), peer(0xffff_ffff)].map((credentials) => users().find(credentials))).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
  });

  it('is known as the own user only where uids are mapped: root there may be anybody outside', () => {
    const mapped = users({ hasIdentityIdMaps: false });
    expect([0, OWN].map((uid) => roleOf(uid, mapped))).toEqual([undefined, 'admin']);
  });
});

it.each([
  [{ roles: { nosuch: 'viewer' } }, 'no user of that name'],
  [{ roles: { nobody: 'viewer' } }, 'cannot name'],
  [{ roles: { '4294967295': 'viewer' } }, 'cannot name'],
  [{ roles: { root: 'viewer' } }, 'a role already'],
  [{ roles: { ops: 'viewer', '1000': 'admin' } }, 'a role already'],
  [{ roles: { ops: 'viewer' }, hasIdentityIdMaps: false }, 'uids are mapped'],
] as const)('`api.local` is refused with words: %j', (more, words) => {
  expect(() => users(more)).toThrow(UsageFailure);
  expect(() => users(more)).toThrow(words);
});
