/**
 * Datagrams to systemd's socket (sd_notify(3)). Node.js has no unix datagram sockets, so libc's are
 * called.
 */

import { Failure, systemFailure } from '../failure.js';
import { loadLibc } from '../files/libc.js';

/** Of Linux, where systemd is. */
const AF_UNIX = 1;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const FAMILY_OCTETS = 2;
const MAX_PATH = 108;

export interface NotifySocket {
  /** Throws a Failure if no process receives it. */
  send(text: string): void;
}

/** @param name a path, or one in the abstract namespace with `@` before it */
export function openNotifySocket(name: string): NotifySocket {
  const address = socketAddress(name);
  const { library, errorName } = libc();
  const socket = library.func('int socket(int, int, int)');
  const sendto = library.func('intptr_t sendto(int, void *, size_t, int, void *, uint32_t)');
  const notifyFailure = (): Failure => {
    const code = errorName();
    return systemFailure('systemd cannot be notified', Object.assign(new Error(code), { code }));
  };
  const fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0) as number;
  if (fd < 0) throw notifyFailure();
  return {
    send(text) {
      const octets = Buffer.from(text);
      const sent = sendto(fd, octets, octets.length, MSG_DONTWAIT | MSG_NOSIGNAL, address, address.length) as number;
      if (sent < 0) throw notifyFailure();
    },
  };
}

function libc(): ReturnType<typeof loadLibc> {
  try {
    return loadLibc();
  } catch (error) {
    throw new Failure('systemd cannot be notified: the package koffi has nothing for this machine', { cause: error });
  }
}

/** sockaddr_un of unix(7): the family in this machine's own order, then the path. */
function socketAddress(name: string): Buffer {
  const path = Buffer.from(name);
  if (!/^[/@]/.test(name) || path.length > MAX_PATH) throw new Failure('NOTIFY_SOCKET is neither a path nor an abstract socket');
  // An abstract name begins with an octet 0.
  if (name.startsWith('@')) path[0] = 0;
  return Buffer.concat([Buffer.from(Uint16Array.of(AF_UNIX).buffer, 0, FAMILY_OCTETS), path]);
}
