import { randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { withExamples } from '@latchkey/runtime/cli';
import { Failure } from '@latchkey/runtime/failure';
import { readFolderLock } from '@latchkey/runtime/files';
import { Command } from 'commander';
import type { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { type StateOptions, stateOptions, withApplicationRoots } from './state.js';

/** How long the controller has for an answer, in ms: longer than it waits for one auth-server. */
const TIMEOUT_MS = 30_000;
const LOOK_INTERVAL_MS = 100;

export function syncCommand(): Command {
  const command = stateOptions(
    new Command('sync').description('have the running controller ask the auth-server now which keys changed, and wait for it'),
  ).action(sync);
  return withExamples(command, 'latchkey-controller sync --state /var/lib/latchkey/controller');
}

async function sync(options: StateOptions): Promise<void> {
  await withApplicationRoots(options, async (applicationRoots) => {
    if (!(await readFolderLock(options.state)).locked)
      throw new Failure(`no controller runs on ${options.state}`, { advice: 'Start the controller: it asks at its start.' });
    const isComplete = await outcomeOf(applicationRoots);
    if (isComplete === undefined) {
      throw new Failure(`the controller still waits for an auth-server after ${TIMEOUT_MS / 1000} s`, {
        advice: "Check the way to the auth-server, and the controller's log.",
      });
    }
    if (!isComplete) {
      throw new Failure('the controller got no complete answer from an auth-server', {
        advice: "Check the way to the auth-server, and the controller's log.",
      });
    }
    const { size } = applicationRoots;
    process.stdout.write(`the registry has confirmed the ${size === 1 ? 'key of 1 node' : `keys of ${size} nodes`}\n`);
  });
}

/**
 * Requests a poll of the feed. Returns whether its answer was complete, or `undefined` after a
 * timeout. The store has one request slot. This function waits for another command's request, and
 * repeats its own if another command replaced it.
 */
async function outcomeOf(applicationRoots: ApplicationRootStore): Promise<boolean | undefined> {
  const token = randomBytes(8).toString('hex');
  for (const since = performance.now(); performance.now() - since < TIMEOUT_MS; await pause(LOOK_INTERVAL_MS)) {
    const done = applicationRoots.syncOutcome;
    if (done?.token === token) return done.isComplete;
    if (applicationRoots.pendingSync === undefined) await applicationRoots.requestSync(token);
  }
  return undefined;
}
