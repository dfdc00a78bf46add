/** Writes the files of a target, each folder's by a child process under the folder's own user. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { stat } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { Failure, systemFailure } from '@latchkey/runtime/failure';
import type { Account } from './account.js';
import type { OscoreContext } from './oscore-context.js';
import { type WriteRequest, type WriteResult, writeAsOwner } from './write-as-owner.js';

/** A child that takes longer is killed, in ms: a disk or a network file system hangs. */
const WRITE_TIMEOUT_MS = 60_000;
/** Octets of the child's answer that are read. */
const MAX_ANSWER = 4_096;

/** The program that the child runs. It needs no file that the child's user could not read. */
const CHILD_PROGRAM = `(${String(writeAsOwner)})()`;

export interface Access {
  readonly owner: Account | undefined;
  readonly mode: number;
  /** Writes nothing: the result describes what would be written. */
  readonly onlyCompare?: boolean;
}

/** What changed on the disk. */
export interface Written {
  readonly changed: boolean;
  /** Contexts that were wanted again after they had been retired, and were not made. */
  readonly reused: number;
}

/** Replaces `path` by `content`, unless it has the same octets, owner and mode. */
export function writeFileAsOwner(path: string, content: string, access: Access): Promise<Written> {
  const octets = Buffer.from(content);
  const request = { folder: dirname(path), files: [{ name: basename(path), length: octets.length }], ...access };
  return write(path, request, octets);
}

/** Makes the folder of each context that has none, and retires all others. */
export function writeContextsAsOwner(folder: string, contexts: readonly OscoreContext[], access: Access): Promise<Written> {
  return write(folder, { folder, files: [], contexts, ...access }, Buffer.alloc(0));
}

async function write(path: string, request: Omit<WriteRequest, 'uid'>, octets: Uint8Array): Promise<Written> {
  const result = await runChild(request, octets).catch((error: unknown) => {
    throw systemFailure(`cannot write ${path}`, error);
  });
  octets.fill(0);
  if ('changed' in result) return result;
  const cause = Object.assign(new Error(result.error), result.code === undefined ? {} : { code: result.code });
  const { message, advice } = systemFailure(`cannot write ${path}`, cause);
  throw new Failure(message, { advice: advice ?? 'Check the folder and its owner.' });
}

async function runChild(request: Omit<WriteRequest, 'uid'>, octets: Uint8Array): Promise<WriteResult> {
  const info = await stat(request.folder);
  const isRoot = process.geteuid?.() === 0;
  const user = isRoot ? { uid: info.uid, gid: info.gid } : {};
  const child = spawn(process.execPath, ['-e', CHILD_PROGRAM], {
    ...user,
    cwd: '/',
    env: {},
    stdio: ['pipe', 'pipe', 'ignore'],
    timeout: WRITE_TIMEOUT_MS,
    killSignal: 'SIGKILL',
  });
  // Before its pipes are touched: if no file descriptor is free, it has none, and fails a moment
  // later.
  const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
  const { stdin, stdout } = child as { readonly stdin?: Writable; readonly stdout?: Readable };
  let answer = '';
  stdout?.setEncoding('utf8').on('data', (text: string) => {
    answer = (answer + text).slice(0, MAX_ANSWER);
  });
  // A child that ends early closes its input; its answer says why.
  stdin?.on('error', () => undefined);
  const header: WriteRequest = { ...request, uid: isRoot ? info.uid : (process.geteuid?.() ?? 0) };
  stdin?.write(`${JSON.stringify(header)}\n`);
  stdin?.end(octets);
  const [code, signal] = await ended;
  if (code !== 0 || !answer.endsWith('\n')) throw new Error(`the process that writes ended with ${String(signal ?? code)}`);
  return JSON.parse(answer) as WriteResult;
}
