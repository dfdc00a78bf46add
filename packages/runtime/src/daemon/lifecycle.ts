/** How a daemon starts, stops and dies. */

import { exitNow } from './exit-now.js';
import { EXIT, Failure } from '../failure.js';
import type { ListenAddress } from '../net/listen-address.js';
import { Readiness } from '../telemetry/http/readiness.js';
import type { HttpOptions, HttpServer } from '../telemetry/http/server.js';
import type { Log } from './log.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import { SystemdNotifier } from './systemd.js';

/** What is in flight when a daemon is asked to stop has this long to finish, in ms. */
const STOP_TIMEOUT_MS = 10_000;

export interface Daemon {
  /** What others may see of it. */
  readonly telemetry?: Telemetry;
  /** Stops taking work, finishes what is in flight, lets go of sockets and files. */
  stop(): Promise<void>;
  /**
   * Reads anew what an administrator may have replaced, on SIGHUP, and logs whether it has changed.
   * A Failure is logged, and nothing changes.
   */
  reload?(): Promise<void>;
}

/** Where a daemon is seen from outside, and under which name. */
export interface TelemetryOptions {
  /** `controller`, say. */
  readonly name: string;
  /** Where health and metrics are served; `undefined`: nowhere. */
  readonly http: ListenAddress | undefined;
}

const NO_TELEMETRY: Telemetry = { isServing: () => true, checks: [], metrics: [] };

/**
 * Runs a daemon until SIGTERM or SIGINT, then stops it within 10 seconds, started or not; a second
 * signal ends it at once. The process ends with the daemon; a Failure to start is thrown. A mistake
 * nobody caught is logged and ends it too: a daemon in an unknown state serves nobody.
 */
export async function runDaemon(log: Log, start: () => Promise<Daemon>, telemetryOptions?: TelemetryOptions): Promise<never> {
  process.on('uncaughtException', (error) => {
    log.fatal({ error: error.message, where: topFrame(error) }, 'internal error; exiting');
    exitNow(EXIT.failed);
  });

  const shutdownRequested = new Promise<void>((resolve) => {
    let signals = 0;
    for (const signal of ['SIGTERM', 'SIGINT'] as const) {
      process.on(signal, () => {
        signals += 1;
        if (signals > 1) exitNow(EXIT.failed);
        log.info({ signal }, 'stopping');
        setTimeout(() => {
          log.warn({ limitSeconds: STOP_TIMEOUT_MS / 1000 }, 'stopped with work still in flight');
          exitNow(EXIT.failed);
        }, STOP_TIMEOUT_MS);
        resolve();
      });
    }
  });
  // Whoever replaces a file while it is being read has it read once more.
  let markStarted: (() => void) | undefined;
  const started = new Promise<void>((resolve) => (markStarted = resolve));
  process.on('SIGHUP', () => void started.then(() => notifier.reloading(() => reload(daemon, log))));

  const notifier = SystemdNotifier.fromEnvironment(log);
  const daemon = await start();
  const { telemetry = NO_TELEMETRY } = daemon;
  const readiness = new Readiness(telemetry.checks);
  const address = telemetryOptions?.http;
  const http = address && (await serve({ address, info: { daemon: telemetryOptions.name }, telemetry, readiness, log }));
  notifier.ready(readiness);
  markStarted?.();
  await shutdownRequested;
  notifier.stopping();
  await http?.close();
  await daemon.stop();
  log.info('stopped');
  exitNow(EXIT.ok);
}

async function reload(daemon: Daemon, log: Log): Promise<void> {
  if (daemon.reload === undefined) {
    log.info({ signal: 'SIGHUP', advice: 'To have a configuration read, restart it.' }, 'nothing to reload: nothing has changed');
    return;
  }
  try {
    await daemon.reload();
  } catch (error) {
    const advice = error instanceof Failure ? error.advice : undefined;
    log.error({ advice }, `not reloaded: ${error instanceof Error ? error.message : String(error)}`);
  }
}

/** What that takes is loaded only where it is asked for. */
async function serve(options: HttpOptions): Promise<HttpServer> {
  const { serveHttp } = await import('../telemetry/http/server.js');
  return serveHttp(options);
}

/** The innermost frame, for a bug report: file and line, not a stack. */
function topFrame(error: Error): string | undefined {
  return error.stack?.split('\n')[1]?.trim();
}
