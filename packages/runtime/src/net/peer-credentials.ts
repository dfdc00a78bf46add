/**
 * The process at the other end of a unix socket, as the kernel recorded it at connect(2): uid,
 * primary and supplementary groups (SO_PEERCRED, SO_PEERGROUPS of unix(7)). Node.js has no call
 * for them, so libc's is used. /proc/PID is never read: the PID may be another process's by then.
 */

import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { Failure } from '../failure.js';
import { loadLibc } from '../files/libc.js';

export interface PeerCredentials {
  readonly uid: number;
  /** The primary group first. */
  readonly groups: readonly number[];
}

interface SocketOptions {
  readonly level: number;
  readonly credentials: number;
  readonly groups: number;
}

/** asm-generic/socket.h of Linux. */
const GENERIC: SocketOptions = { level: 1, credentials: 17, groups: 59 };
/** The processors that Node.js and koffi are built for. Another one may have other numbers. */
const SOCKET_OPTIONS: Readonly<Record<string, SocketOptions>> = {
  arm: GENERIC,
  arm64: GENERIC,
  ia32: GENERIC,
  loong64: GENERIC,
  ppc64: { ...GENERIC, credentials: 21 },
  riscv64: GENERIC,
  x64: GENERIC,
};
/** struct ucred: pid, uid and gid of 32 bits each. */
const UCRED_LENGTH = 12;
const ID_LENGTH = 4;
/** NGROUPS_MAX of Linux: a process has at most so many groups. */
const MAX_GROUPS = 65_536;
/** Enough for most processes. Otherwise the kernel returns the required number. */
const FEW_GROUPS = 64;
/** The one line of a map that leaves every ID as it is, in /proc/self/uid_map and gid_map. */
const IDENTITY_MAP = /^\s*0\s+0\s+4294967295\s*$/;

/** struct group of getgrnam_r(3): two pointers, the gid, a pointer. */
const POINTER_LENGTH = process.arch === 'arm' || process.arch === 'ia32' ? 4 : 8;
const GROUP_LENGTH = 4 * POINTER_LENGTH;
/** The group's name and members. A group with more members than fit is not found. */
const GROUP_TEXT_LENGTH = 1_048_576;

/**
 * Returns a function that reads the credentials of a connection's peer, and returns `undefined` if
 * they cannot be read.
 *
 * @throws Failure if this machine has no way to read them
 */
export function openPeerCredentials(): (socket: Socket) => PeerCredentials | undefined {
  const options = process.platform === 'linux' ? SOCKET_OPTIONS[process.arch] : undefined;
  if (options === undefined) throw new Failure(`peer credentials cannot be read on ${process.platform}, ${process.arch}`);
  const getsockopt = libc().library.func('int getsockopt(int, int, int, void *, _Inout_ uint32_t *)');
  const read = (fd: number, name: number, room: number): Buffer | number => {
    const octets = Buffer.alloc(room);
    const length = [room];
    if (getsockopt(fd, options.level, name, octets, length) === 0) return octets.subarray(0, length[0]);
    return length[0] ?? 0;
  };
  return (socket) => {
    const fd = descriptorOf(socket);
    if (fd === undefined) return undefined;
    const ucred = read(fd, options.credentials, UCRED_LENGTH);
    if (typeof ucred === 'number' || ucred.length !== UCRED_LENGTH) return undefined;
    let groups = read(fd, options.groups, FEW_GROUPS * ID_LENGTH);
    if (typeof groups === 'number' && groups > FEW_GROUPS * ID_LENGTH && groups <= MAX_GROUPS * ID_LENGTH)
      groups = read(fd, options.groups, groups);
    if (typeof groups === 'number') return undefined;
    const [, uid = 0, gid = 0] = idsIn(ucred);
    return { uid, groups: [gid, ...idsIn(groups)] };
  };
}

/** Numbers of 32 bits, in this machine's own order. */
function idsIn(octets: Buffer): number[] {
  const view = new DataView(octets.buffer, octets.byteOffset, octets.length);
  const isLittleEndian = new Uint8Array(Uint16Array.of(1).buffer)[0] === 1;
  return Array.from({ length: octets.length / ID_LENGTH }, (_, index) => view.getUint32(index * ID_LENGTH, isLittleEndian));
}

function descriptorOf(socket: Socket): number | undefined {
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: number } | null };
  return typeof handle?.fd === 'number' && handle.fd >= 0 ? handle.fd : undefined;
}

/**
 * Returns true if uids and gids of peers are those of the whole machine. They are not in a user
 * namespace with a map: `PrivateUsers=yes` of systemd, a rootless container.
 */
export function hasIdentityIdMaps(): boolean {
  try {
    return ['uid_map', 'gid_map'].every((name) => IDENTITY_MAP.test(readFileSync(`/proc/self/${name}`, 'utf8')));
  } catch {
    return false;
  }
}

/**
 * Returns the gid of a group by its name, as getgrnam_r(3) finds it, or `undefined` if it has none.
 */
export function findGroupId(name: string): number | undefined {
  const getgrnam = libc().library.func('int getgrnam_r(const char *, void *, void *, size_t, void *)');
  const [group, text, found] = [GROUP_LENGTH, GROUP_TEXT_LENGTH, POINTER_LENGTH].map((length) => Buffer.alloc(length));
  if (group === undefined || text === undefined || found === undefined) return undefined;
  const isFound = getgrnam(name, group, text, text.length, found) === 0 && found.some((octet) => octet !== 0);
  return isFound ? idsIn(group.subarray(2 * POINTER_LENGTH, 2 * POINTER_LENGTH + ID_LENGTH))[0] : undefined;
}

function libc(): ReturnType<typeof loadLibc> {
  try {
    return loadLibc();
  } catch (error) {
    throw new Failure('peer credentials cannot be read: the package koffi has nothing for this machine', { cause: error });
  }
}
