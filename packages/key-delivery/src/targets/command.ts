/** Runs a program of the configuration: an argument list, a clean environment, a time limit. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { access, constants } from 'node:fs/promises';
import { join } from 'node:path';
import { Failure, systemFailure, UsageFailure } from '@latchkey/runtime/failure';
import type { Account } from './account.js';
import { assertTrusted } from './trusted-path.js';

/** A program that takes longer is killed with all that it started, in ms. */
const COMMAND_TIMEOUT_MS = 30_000;
const PATH = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'] as const;

export interface Command {
  readonly words: readonly string[];
  /** `undefined`: as this process. */
  readonly runAs: Account | undefined;
  /** Ends the program. */
  readonly signal: AbortSignal;
}

/**
 * Returns the path of a program, which may be a name on the fixed PATH.
 *
 * @throws UsageFailure if it does not exist, or another user can change it
 */
export async function findProgram(name: string, field: string): Promise<string> {
  const candidates = name.includes('/') ? [name] : PATH.map((folder) => join(folder, name));
  for (const path of candidates) {
    try {
      await access(path, constants.X_OK);
    } catch {
      continue;
    }
    await assertTrusted(path, `the program of ${field}`);
    return path;
  }
  throw new UsageFailure(`${field}: there is no program ${name}`, {
    advice: `Write its path. Without one it is looked for in ${PATH.join(', ')}.`,
  });
}

/**
 * Runs a program and waits for its end.
 *
 * @param environment is added to PATH and LANG
 * @throws Failure if it cannot be started, ends with another code than 0, or takes 30 seconds
 */
export async function runProgram(
  { words, runAs, signal }: Command,
  field: string,
  environment: Readonly<Record<string, string>>,
): Promise<void> {
  const [name = '', ...args] = words;
  const path = await findProgram(name, field);
  // An earlier abort raises no further event.
  if (signal.aborted) throw new Failure(`${field}: ${path} was not run, as this process stops`);
  const child = spawn(path, args, {
    ...runAs,
    cwd: '/',
    env: { PATH: PATH.join(':'), LANG: 'C.UTF-8', ...environment },
    stdio: ['ignore', 'ignore', 'inherit'],
    // A separate process group, so that child processes of the program end with it.
    detached: true,
  });
  const timeout = AbortSignal.timeout(COMMAND_TIMEOUT_MS);
  const stop = (): void => killGroup(child.pid);
  for (const reason of [timeout, signal]) reason.addEventListener('abort', stop, { once: true });
  try {
    const [code, killedBy] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    if (code === 0) return;
    const how = timeout.aborted ? `took more than ${COMMAND_TIMEOUT_MS / 1000} s` : `ended with ${String(killedBy ?? code)}`;
    throw new Failure(`${field}: ${path} ${how}`, { advice: 'Its own messages are on standard error. It is run again.' });
  } catch (error) {
    throw systemFailure(`${field}: cannot run ${path}`, error);
  } finally {
    for (const reason of [timeout, signal]) reason.removeEventListener('abort', stop);
  }
}

function killGroup(pid: number | undefined): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}
