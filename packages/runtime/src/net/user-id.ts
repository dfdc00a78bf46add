/** User IDs by name, from whatever the system's user database is. */

import { loadLibc } from '../files/libc.js';

const POINTER_LENGTH = process.arch === 'arm' || process.arch === 'ia32' ? 4 : 8;
/** struct passwd of getpwnam_r(3): name and password, pw_uid, pw_gid, three strings. */
const UID_OFFSET = 2 * POINTER_LENGTH;
const PASSWD_LENGTH = UID_OFFSET + 2 * 4 + 3 * POINTER_LENGTH;
/** All strings of one user. A user whose strings do not fit is not found. */
const TEXT_LENGTH = 65_536;

/** Returns the uid of a user, or `undefined` if the system has no user of that name. */
export function findUserId(name: string): number | undefined {
  const getpwnam = loadLibc().library.func('int getpwnam_r(const char *, void *, void *, size_t, void *)');
  const passwd = Buffer.alloc(PASSWD_LENGTH);
  const text = Buffer.alloc(TEXT_LENGTH);
  const found = Buffer.alloc(POINTER_LENGTH);
  if (getpwnam(name, passwd, text, text.length, found) !== 0 || found.every((octet) => octet === 0)) return undefined;
  const { buffer, byteOffset } = passwd;
  return new Uint32Array(buffer.slice(byteOffset + UID_OFFSET, byteOffset + UID_OFFSET + 4))[0];
}
