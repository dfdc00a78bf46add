/** `join --now` next to an agent that runs: it has the agent join, and waits for the outcome. */

import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { formatId } from '@latchkey/protocol';
import { Failure, systemFailure } from '@latchkey/runtime/failure';
import { assertSamePidNamespace, LOCK_FILE, readFolderLock } from '@latchkey/runtime/files';
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
  await assertSamePidNamespace(folder);
  const pid = Number(/^latchkey-node-agent run \(process (\d+),/.exec(holder)?.[1]);
  if (!Number.isInteger(pid)) throw new Failure(`the folder ${folder} is in use by ${holder}`, { advice: 'Wait for its end.' });
  // The words are those of the agent's user, and may be of an earlier process. The signal ends a
  // process that is no agent.
  if (!(await hasOpen(pid, join(folder, LOCK_FILE))))
    throw new Failure(`${holder} is not the process that has the folder ${folder}`, {
      advice: 'Try again, or restart the agent.',
    });
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

/** Whether a process has a file open, by any name that the file has where that process runs. */
async function hasOpen(pid: number, path: string): Promise<boolean> {
  const { dev, ino } = await stat(path);
  const descriptors = `/proc/${pid}/fd`;
  for (const name of await readdir(descriptors).catch(() => [])) {
    const open = await stat(join(descriptors, name)).catch(() => undefined);
    if (open?.dev === dev && open.ino === ino) return true;
  }
  return false;
}
