import { COMMIT_LIMIT_MS } from '@latchkey/protocol';
import type { Log } from '@latchkey/runtime';
import type { Registry } from './registry.js';

const LOOK_EVERY_MS = 1_000;

/**
 * Ends the process, at once and without clearing up, when a commit has not finished in 30 s: it must not take effect later,
 * when its node may have dropped the candidate it commits, and there is no other way to call back a write the disk holds up.
 *
 * @returns a function that stops watching
 */
export function watchStore(registry: Registry, log: Log): () => void {
  const timer = setInterval(() => {
    const since = registry.oldestCommit;
    if (since === undefined || performance.now() - since < COMMIT_LIMIT_MS) return;
    log.fatal(
      { seconds: COMMIT_LIMIT_MS / 1000 },
      'the disk has not taken a write in time; ending, so that it cannot take effect later',
    );
    process.kill(process.pid, 'SIGKILL');
  }, LOOK_EVERY_MS);
  return () => clearInterval(timer);
}
