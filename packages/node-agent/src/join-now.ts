/** `join --now` next to an agent that runs: it has the agent join, and waits for the outcome. */

import { setTimeout as pause } from 'node:timers/promises';
import { formatId } from '@latchkey/protocol';
import { Failure, systemFailure } from '@latchkey/runtime/failure';
import { readFolderLock } from '@latchkey/runtime/files';
import { NodeFile } from './node-file.js';

/** An attempt takes less, in ms. */
const TIMEOUT_MS = 180_000;
const POLL_INTERVAL_MS = 100;

/**
 * Returns false if no agent runs on the folder.
 *
 * @throws Failure if the agent's attempt failed, or another process has the folder
 */
export async function askAgent(folder: string): Promise<boolean> {
  const { locked, holder = '' } = await readFolderLock(folder);
  if (!locked) return false;
  const pid = Number(/^latchkey-node-agent run \(process (\d+),/.exec(holder)?.[1]);
  if (!Number.isInteger(pid)) throw new Failure(`the folder ${folder} is in use by ${holder}`, { advice: 'Wait for its end.' });
  const askedAt = Date.now();
  try {
    process.kill(pid, 'SIGUSR2');
  } catch (error) {
    throw systemFailure(`cannot signal ${holder}`, error);
  }
  for (const deadline = performance.now() + TIMEOUT_MS; performance.now() < deadline;) {
    await pause(POLL_INTERVAL_MS);
    const { state, lastAttempt } = (await NodeFile.open(folder)).record;
    if (lastAttempt === undefined || lastAttempt.at < askedAt) continue;
    if (lastAttempt.outcome !== 'joined') throw new Failure(lastAttempt.outcome);
    process.stdout.write(`Node ${formatId(state.idI)} joined: its key is ${String(state.confirmed)}\n`);
    return true;
  }
  throw new Failure(`the agent ${holder} has not joined within ${TIMEOUT_MS / 1000} s`, { advice: 'Look at its log.' });
}
