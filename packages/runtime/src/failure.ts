/** Failures for people: what happened, what to do, and the exit code. */

/** Words of a command line, the program first. A word `|` pipes one command into the next. */
export type CommandLine = readonly string[];

/** Exit codes of every command. */
export const EXIT = { ok: 0, failed: 1, usage: 2 } as const;

/**
 * Kinds of failures. The API has a status for each. A command that works over the API restores the
 * kind from the answer.
 *
 * - `failed`: the command, its files and the configuration are right, and the work failed.
 * - `not-found`: a node, an order, a user or another named object does not exist.
 * - `usage`: the command line, a file or the configuration is wrong, or the registry is in a state
 *   that does not permit the request.
 */
export type FailureKind = 'failed' | 'not-found' | 'usage';

/** The exit code of each kind: no other place chooses one. */
export const EXIT_CODES: Readonly<Record<FailureKind, number>> = {
  failed: EXIT.failed,
  'not-found': EXIT.failed,
  usage: EXIT.usage,
};

/** What to do about a failure. */
export interface Advice {
  readonly advice?: string;
  /**
   * Commands that do it, one a line below the advice. Options such as `--data` are repeated by
   * `main`.
   */
  readonly run?: readonly CommandLine[];
}

interface FailureOptions extends Advice {
  readonly cause?: unknown;
}

/** Failure at work. The message is for a person and holds no key. */
export class Failure extends Error {
  readonly kind: FailureKind = 'failed';
  readonly advice: string | undefined;
  readonly run: readonly CommandLine[];

  constructor(message: string, options: FailureOptions = {}) {
    super(message, { cause: options.cause });
    this.name = 'Failure';
    this.advice = options.advice;
    this.run = options.run ?? [];
  }

  get exitCode(): number {
    return EXIT_CODES[this.kind];
  }
}

/** A node, an order or something else that was named does not exist. */
export class NotFound extends Failure {
  override readonly name = 'NotFound';
  override readonly kind: FailureKind = 'not-found';
}

/** Wrong usage or configuration. */
export class UsageFailure extends Failure {
  override readonly kind: FailureKind = 'usage';

  constructor(message: string, options: FailureOptions = {}) {
    super(message, options);
    this.name = 'UsageFailure';
  }
}

/** The `code` of a Node.js system error (`ENOENT`, ...), if `error` is one. */
export function systemCode(error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined;
}

const SYSTEM_ADVICE: Readonly<Record<string, readonly [what: string, advice: string]>> = {
  EACCES: ['permission denied', 'Run as the user that owns it, or change its owner.'],
  EPERM: ['operation not permitted', 'Run as the user that owns it, or change its owner.'],
  EROFS: ['the file system is read-only', 'Mount it read-write, or choose another folder.'],
  ENOSPC: ['no space left on the device', 'Free some space; nothing was lost.'],
  EDQUOT: ['the disk quota is used up', 'Free some space; nothing was lost.'],
  ENOENT: ['no such file or folder', 'Check the path.'],
  ENOTDIR: ['part of the path is not a folder', 'Check the path.'],
  ELOOP: ['it is a symbolic link', 'Remove it: a link is not followed there.'],
  EISDIR: ['it is a folder, not a file', 'Check the path.'],
  EEXIST: ['it exists already', 'Choose another name, or move it away.'],
  EIO: ['the device reports an input/output error', 'Check the disk.'],
  EMFILE: ['this process has too many files and sockets open', 'Raise its limit: LimitNOFILE= of systemd, ulimit -n of a shell.'],
  ENFILE: ['this machine has too many files and sockets open', 'Raise the sysctl fs.file-max, or end what holds them.'],
  EFBIG: [
    'the file would become larger than this process may make one',
    'Raise its limit: LimitFSIZE= of systemd, ulimit -f of a shell.',
  ],
  ECONNREFUSED: ['nothing listens there', 'Start it, or check the address.'],
  EADDRINUSE: ['another process listens there', 'Stop it, or choose another address.'],
  EADDRNOTAVAIL: ['this machine does not have that address', 'Choose one of its addresses.'],
  ENETUNREACH: ['no route leads there', 'Check the address and this machine’s network.'],
  EHOSTUNREACH: ['no route leads there', 'Check the address and this machine’s network.'],
  EAFNOSUPPORT: ['this machine does not speak that kind of address', 'Choose an IPv4 address.'],
  ENOTFOUND: ['the name cannot be resolved', 'Check the spelling and the name server.'],
  EAI_AGAIN: ['the name server does not answer', 'Check the network, then try again.'],
};

/**
 * Returns a Failure that names the action which a system error interrupted, e.g. `cannot write /x:
 * the file system is read-only`.
 */
export function systemFailure(action: string, error: unknown): Failure {
  if (error instanceof Failure) return error;
  const code = systemCode(error);
  const known = code === undefined ? undefined : SYSTEM_ADVICE[code];
  if (known === undefined)
    return new Failure(`${action}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
  return new Failure(`${action}: ${known[0]}`, { advice: known[1], cause: error });
}

/** Default of the system: ports below this are for privileged processes. */
const UNPRIVILEGED_PORTS = 1_024;

/**
 * Like the above, if the address of the option `--NAME`, or `NAME:` of the configuration, cannot be
 * listened on.
 */
export function listenFailure(action: string, name: 'listen' | 'http', port: number | undefined, error: unknown): Failure {
  const failure = systemFailure(action, error);
  const code = systemCode(error);
  const options = { cause: failure.cause };
  const another = `--${name}, or \`${name}:\` of the configuration`;
  if (code === 'EADDRINUSE')
    return new Failure(failure.message, { ...options, advice: `Stop it, or choose another with ${another}.` });
  if (code === 'EADDRNOTAVAIL')
    return new Failure(failure.message, { ...options, advice: `Choose one of its addresses with ${another}.` });
  if (code === 'EACCES' && port !== undefined && port < UNPRIVILEGED_PORTS) {
    return new Failure(failure.message, {
      ...options,
      advice: `Ports below ${UNPRIVILEGED_PORTS} need CAP_NET_BIND_SERVICE: grant it, or choose another with ${another}.`,
    });
  }
  return failure;
}
