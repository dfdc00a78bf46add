import { COMMIT_TIMEOUT_MS } from '@latchkey/protocol';
import { type Log, repeat } from '@latchkey/runtime/daemon';
import type { AuthServer } from './auth-server.js';
import type { Registry } from '@latchkey/registry';

const POLL_INTERVAL_MS = 1_000;
const MAINTENANCE_INTERVAL_MS = 60_000;

/**
 * Ends the process, at once and without clearing up, when a commit has not finished in 30 s: it
 * must not take effect later, when its node may have dropped the candidate it commits, and there is
 * no other way to call back a write the disk holds up. And follows the master key when a command
 * replaces it, keeps the time, forgets initial keys that nodes had long ago, and does for the store
 * what it needs every minute.
 *
 * @returns a function that stops watching
 */
export function startStoreWatchdog(registry: Registry, server: AuthServer, log: Log): () => void {
  const stops = [
    repeat({
      what: 'to look after commits',
      everyMs: POLL_INTERVAL_MS,
      log,
      action() {
        const since = registry.oldestPendingCommit;
        if (since === undefined || performance.now() - since < COMMIT_TIMEOUT_MS) return;
        log.fatal(
          { seconds: COMMIT_TIMEOUT_MS / 1000 },
          'the disk has not taken a write in time; ending, so that it cannot take effect later',
        );
        process.kill(process.pid, 'SIGKILL');
      },
    }),
    repeat({
      what: 'to keep the time, and to follow the master key',
      everyMs: POLL_INTERVAL_MS,
      log,
      async action() {
        await registry.announceAdoption();
        await server.persistClock();
      },
    }),
    repeat({
      what: 'to look after the store',
      everyMs: MAINTENANCE_INTERVAL_MS,
      log,
      action: () => registry.maintain(),
    }),
    repeat({
      what: 'to forget initial keys that nodes had long ago',
      everyMs: POLL_INTERVAL_MS,
      log,
      async action() {
        await registry.forgetInitialKeys();
      },
    }),
  ];
  return () => {
    for (const stop of stops) stop();
  };
}
