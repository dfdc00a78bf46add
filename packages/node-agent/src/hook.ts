/** `on_key_change`: tells the device's other software that there is a new key. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { formatId } from '@latchkey/protocol';
import type { Log } from '@latchkey/runtime';

/** A hook that takes longer is killed, in ms. */
const LIMIT_MS = 60_000;

/**
 * Runs `command` in a shell with LATCHKEY_ID and LATCHKEY_STATE in the environment, and no key anywhere.
 *
 * @returns whether it ended with exit code 0
 */
export async function runHook(command: string, idI: number, stateFolder: string, log: Log): Promise<boolean> {
  const env = { ...process.env, LATCHKEY_ID: formatId(idI), LATCHKEY_STATE: stateFolder };
  const child = spawn('/bin/sh', ['-c', command], {
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
    timeout: LIMIT_MS,
    killSignal: 'SIGKILL',
  });
  try {
    const [code, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    if (code === 0) return true;
    log.error({ code, signal }, 'on_key_change failed; it runs again with the next start or key');
  } catch (error) {
    log.error({ error: error instanceof Error ? error.message : String(error) }, 'on_key_change could not be started');
  }
  return false;
}
