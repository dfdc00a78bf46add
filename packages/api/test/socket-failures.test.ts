// What the API says if the kernel does not let it serve on a socket.

import { describe, expect, it } from 'vitest';
import { groupFailure, socketFailure } from '../src/socket-failures.js';

const PATH = '/run/latchkey/auth-server api/api.sock';
const refusedWith = (code: string): Error => Object.assign(new Error(code), { code });

describe('a socket that the API cannot serve on', () => {
  it.each(['EACCES', 'EPERM'])('is of another user, or its folder is: %s', (code) => {
    const { message, advice } = socketFailure(PATH, refusedWith(code));
    expect(message).toContain(`cannot serve the API on unix:${PATH}: `);
    expect(advice).toContain('must be able to write to /run/latchkey/auth-server api.');
    expect(advice).toContain(`(rm '${PATH}')`);
    // The file may be none of its own, and not be there at all.
    expect(advice).not.toContain('change its owner');
  });

  it('is taken, or has a fault of its own', () => {
    expect(socketFailure(PATH, refusedWith('EADDRINUSE')).advice).toMatch(/^Stop it, or choose another path with `socket:`/);
    expect(socketFailure(PATH, refusedWith('EROFS')).advice).toContain('read-write');
    const known = groupFailure(PATH, 'ops', refusedWith('EPERM'));
    expect(socketFailure(PATH, known)).toBe(known);
  });

  it('is not given to a group that its user is not in', () => {
    expect(groupFailure(PATH, 'ops', refusedWith('EPERM'))).toMatchObject({
      message: `cannot give unix:${PATH} to the group ops: operation not permitted`,
      advice: expect.stringContaining('SupplementaryGroups=ops and SystemCallFilter=@chown'),
    });
  });
});
