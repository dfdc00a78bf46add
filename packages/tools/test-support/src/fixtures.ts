// What the test files share: a folder of one's own, a log that can be read back, a CoAP peer on a
// bare socket, child processes.

import { type ChildProcessByStdio, spawn, spawnSync } from 'node:child_process';
import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import dns from 'node:dns/promises';
import { once } from 'node:events';
import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { syncBuiltinESMExports } from 'node:module';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { generate, type Packet, parse, type ParsedPacket } from 'coap-packet';
import { type Logger, pino } from 'pino';
import { onTestFinished } from 'vitest';
import { recordOutput } from './output-record.js';

/** A new folder of mode 0700 that goes with the test. */
export async function tempFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-test-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/**
 * Makes a folder, mode 0700, with a file system of its own in memory until the test ends. Returns
 * false where nothing can be mounted.
 *
 * @param size as `mount` has it: `2m`
 */
export async function mountTmpfs(folder: string, size: string): Promise<boolean> {
  await mkdir(folder, { mode: 0o700 });
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', folder]).status !== 0) return false;
  onTestFinished(() => void spawnSync('umount', ['-l', folder]));
  return true;
}

export interface LogLine extends Record<string, unknown> {
  readonly level: string;
  readonly msg: string;
}

/** A log of all levels whose lines can be read back. */
export class CapturedLog {
  readonly lines: LogLine[] = [];
  readonly log: Logger;
  readonly #waiting = new Set<() => void>();

  constructor() {
    const write = (line: string): void => {
      recordOutput('log', line);
      this.lines.push(JSON.parse(line) as LogLine);
      for (const look of this.#waiting) look();
    };
    this.log = pino({ level: 'debug', formatters: { level: (label) => ({ level: label }) } }, { write });
  }

  get text(): string {
    return this.lines.map((line) => JSON.stringify(line)).join('\n');
  }

  /** The lines with this message. */
  withMessage(msg: string): LogLine[] {
    return this.lines.filter((line) => line.msg === msg);
  }

  /** Resolves as the line is written, or at once if it has been. */
  async until(matches: (line: LogLine) => boolean): Promise<LogLine> {
    for (;;) {
      const found = this.lines.find(matches);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        const check = (): void => {
          this.#waiting.delete(check);
          resolve();
        };
        this.#waiting.add(check);
      });
    }
  }
}

export interface Received extends ParsedPacket {
  readonly octets: Buffer;
  readonly from: RemoteInfo;
}

/**
 * One end of a CoAP conversation on a bare UDP socket; what it says and hears goes through
 * `coap-packet`, not through the code under test.
 */
export class UdpPeer {
  readonly #socket: Socket;
  readonly #heard: Received[] = [];
  readonly #waiting: ((received: Received) => void)[] = [];

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (octets, from) => {
      const received = { ...parse(octets), octets, from };
      const next = this.#waiting.shift();
      if (next === undefined) this.#heard.push(received);
      else next(received);
    });
  }

  /** Bound to a port the system chooses unless it is named; closed with the test. */
  static async open(host: string = '127.0.0.1', port: number = 0): Promise<UdpPeer> {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    socket.bind(port, host);
    await once(socket, 'listening');
    onTestFinished(() => void socket.close());
    return new UdpPeer(socket);
  }

  get endpoint(): { host: string; port: number } {
    const { address, port } = this.#socket.address();
    return { host: address, port };
  }

  send(message: Packet | Uint8Array, to: { readonly host: string; readonly port: number }): void {
    this.#socket.send(message instanceof Uint8Array ? message : generate(message), to.port, to.host);
  }

  reply(to: Received, message: Packet): void {
    this.send(message, { host: to.from.address, port: to.from.port });
  }

  /** The next datagram that came, in order. */
  next(): Promise<Received> {
    const received = this.#heard.shift();
    return received === undefined ? new Promise((resolve) => this.#waiting.push(resolve)) : Promise.resolve(received);
  }

  /** What has come and was not asked for. */
  get unread(): readonly Received[] {
    return this.#heard;
  }
}

/**
 * Stands for the system's look-up of names until the test ends; counts the look-ups. One that is
 * left without an end is every later one of that name.
 */
export function lookUpBy(answer: () => Promise<readonly string[]>): { times: number } {
  const { lookup } = dns;
  const seen = { times: 0 };
  dns.lookup = (async () => {
    seen.times += 1;
    return (await answer()).map((address) => ({ address, family: 4 }));
  }) as unknown as typeof dns.lookup;
  syncBuiltinESMExports();
  onTestFinished(() => {
    dns.lookup = lookup;
    syncBuiltinESMExports();
  });
  return seen;
}

export const HAS_IPV6: boolean = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === '::1'),
);
export const IS_ROOT: boolean = process.geteuid?.() === 0;

/** A user that owns nothing, if we are root: root's access is never refused. */
export const NOBODY: { readonly uid?: number; readonly gid?: number } = IS_ROOT ? { uid: 65_534, gid: 65_534 } : {};

/**
 * Runs `action` as that user, as far as system calls go that look at the effective user: access(2)
 * does not.
 */
export async function unprivileged<T>(action: () => Promise<T>): Promise<T> {
  if (NOBODY.uid === undefined || NOBODY.gid === undefined) return action();
  process.setegid?.(NOBODY.gid);
  process.seteuid?.(NOBODY.uid);
  try {
    return await action();
  } finally {
    process.seteuid?.(0);
    process.setegid?.(0);
  }
}

export function hasGcc(): boolean {
  return process.platform === 'linux' && spawnSync('gcc', ['--version']).status === 0;
}

/** The environment of a process for which no file system has hard links, as FAT has none. */
export async function withoutLinks(): Promise<NodeJS.ProcessEnv> {
  const library = join(await tempFolder(), 'no-links.so');
  const source = `
    #include <errno.h>
    int link(const char *from, const char *to) { (void)from; (void)to; errno = EPERM; return -1; }`;
  const built = spawnSync('gcc', ['-shared', '-fPIC', '-o', library, '-x', 'c', '-'], { input: source, encoding: 'utf8' });
  if (built.status !== 0) throw new Error(`gcc: ${built.stderr}`);
  return { ...process.env, LD_PRELOAD: library };
}

interface ChildOptions {
  readonly uid?: number;
  readonly gid?: number;
  readonly env?: NodeJS.ProcessEnv;
}

/**
 * A Node.js process that runs `script`, an ES module; its lines of standard output one by one.
 * Killed with the test.
 */
export class Child {
  readonly #process: ChildProcessByStdio<null, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  readonly #exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;

  constructor(script: string, args: readonly string[] = [], options: ChildOptions = {}) {
    this.#process = spawn(process.execPath, ['--input-type=module', '--eval', script, '--', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      ...options,
    });
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
    this.#exited = once(this.#process, 'exit').then(([code, signal]) => ({ code, signal }) as never);
    onTestFinished(() => void this.#process.kill('SIGKILL'));
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** `undefined`: it has ended. */
  async line(): Promise<string | undefined> {
    const { done, value } = await this.#lines.next();
    return done === true ? undefined : value;
  }

  kill(signal: NodeJS.Signals): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    this.#process.kill(signal);
    return this.#exited;
  }

  get exited(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    return this.#exited;
  }
}

/** All that comes, in a list. */
export async function collected<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}
