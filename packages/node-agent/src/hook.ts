/** `on_key_change`: notifies the device's other software of a new key, or of an expired one. */

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { formatId } from '@latchkey/protocol';
import type { NodeClocks } from '@latchkey/protocol';
import type { Log } from '@latchkey/runtime/daemon';
import { expiryOf } from './key-lease.js';
import type { NodeFile, RecordChange } from './node-file.js';

/** A hook that takes longer is killed, in ms. */
const HOOK_TIMEOUT_MS = 60_000;
/**
 * When the agent stops, what runs may finish for so long, has then to end, and is killed after as
 * long again, in ms.
 */
const STOP_GRACE_MS = 3_000;

/** LATCHKEY_REASON */
type HookReason = 'new-key' | 'expired';

export interface Hook {
  /** A line of the shell. */
  readonly command: string;
  readonly reason: HookReason;
  readonly idI: number;
  readonly stateFolder: string;
  readonly log: Log;
  /**
   * The agent stops: a hook that takes longer than some seconds is ended, and runs again with the
   * next start.
   */
  readonly signal: AbortSignal;
}

interface DueHook extends Omit<Hook, 'reason' | 'idI'> {
  readonly file: NodeFile;
  readonly now: NodeClocks;
  readonly write: (change: RecordChange) => Promise<void>;
}

/** Runs the hook if it was not yet notified of the confirmed key, or of its expiry. */
export async function runDueHook({ file, now, write, ...hook }: DueHook): Promise<void> {
  const { state, hookPending, keyLease, expiryHookFor } = file.record;
  const { idI, confirmed } = state;
  const expiry = expiryOf(file.record, now);
  if (hookPending) {
    const done = await runHook({ ...hook, idI, reason: 'new-key' });
    // By now there may be another key, which it does not know of.
    if (done) await write((record) => ({ hookPending: record.hookPending && record.state.confirmed !== confirmed }));
  } else if (keyLease !== undefined && expiry !== undefined && expiry < now.wallMs && expiryHookFor !== keyLease.at) {
    if (await runHook({ ...hook, idI, reason: 'expired' })) await write({ expiryHookFor: keyLease.at });
  }
}

/**
 * Runs the command in a shell with LATCHKEY_ID, LATCHKEY_STATE and LATCHKEY_REASON in the
 * environment, and no key anywhere.
 *
 * @returns whether it ended with exit code 0
 */
export async function runHook({ command, reason, idI, stateFolder, log, signal }: Hook): Promise<boolean> {
  if (signal.aborted) return false;
  const env = { ...process.env, LATCHKEY_ID: formatId(idI), LATCHKEY_STATE: stateFolder, LATCHKEY_REASON: reason };
  const child = start(command, env, log);
  if (child === undefined) return false;
  let timer = setTimeout(() => signalGroup(child, 'SIGKILL'), HOOK_TIMEOUT_MS);
  const stop = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      signalGroup(child, 'SIGTERM');
      timer = setTimeout(() => signalGroup(child, 'SIGKILL'), STOP_GRACE_MS);
    }, STOP_GRACE_MS);
  };
  signal.addEventListener('abort', stop, { once: true });
  try {
    const [code, killedBy] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    if (code === 0) return true;
    log.error({ code, signal: killedBy }, 'on_key_change failed; it runs again with the next start or key');
  } catch (error) {
    tellNotStarted(error, log);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', stop);
  }
  return false;
}

/**
 * Returns `undefined` if the system has no resources for another process. Some of its errors are
 * thrown, others arrive as an event.
 */
function start(command: string, env: NodeJS.ProcessEnv, log: Log): ChildProcess | undefined {
  try {
    // A separate process group, so that child processes of the shell end with it.
    return spawn('/bin/sh', ['-c', command], { env, stdio: ['ignore', 'ignore', 'inherit'], detached: true });
  } catch (error) {
    tellNotStarted(error, log);
    return undefined;
  }
}

function tellNotStarted(error: unknown, log: Log): void {
  log.error({ error: error instanceof Error ? error.message : String(error) }, 'on_key_change could not be started');
}

function signalGroup({ pid }: ChildProcess, signal: NodeJS.Signals): void {
  try {
    if (pid !== undefined) process.kill(-pid, signal);
  } catch {
    // It has ended by itself.
  }
}
