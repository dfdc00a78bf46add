import { COMMIT_TIMEOUT_MS } from '@latchkey/protocol';
import { type Log, repeat } from '@latchkey/runtime/daemon';
import type { AuthServer } from './auth-server.js';
import type { Registry } from '@latchkey/registry';

const POLL_INTERVAL_MS = 1_000;
const MAINTENANCE_INTERVAL_MS = 60_000;

/**
 * Ends the process, at once and without clean-up, when a commit has not finished in 30 s. Such a
 * commit must not take effect later, when its node may have dropped the candidate. Nothing else can
 * cancel a write that the disk delays.
 *
 * The watchdog also adopts a master key that a command rotated, stores the time, and deletes
 * expired initial keys. Once a minute it runs the maintenance of the store.
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
