/** Starts, reloads and stops a daemon. */

import { exitNow } from './exit-now.js';
import { EXIT, Failure } from '../failure.js';
import type { ListenAddress } from '../net/listen-address.js';
import { Readiness } from '../telemetry/http/readiness.js';
import type { HttpOptions, HttpServer } from '../telemetry/http/server.js';
import type { Log } from './log.js';
import type { Telemetry } from '../telemetry/telemetry.js';
import { SystemdNotifier } from './systemd.js';

/** How long requests in flight may take to finish after SIGTERM, in ms. */
const STOP_TIMEOUT_MS = 10_000;

export interface Daemon {
  /** Its health checks and metrics. */
  readonly telemetry?: Telemetry;
  /** Rejects new requests, finishes those in flight, and closes sockets and files. */
  stop(): Promise<void>;
  /**
   * Re-reads, on SIGHUP, the files that an administrator may have replaced, and logs whether they
   * have changed. If it throws a Failure, that is logged, and nothing changes.
   */
  reload?(): Promise<void>;
}

/** The daemon's name, and where it serves its telemetry. */
export interface TelemetryOptions {
  /** For example `controller`. */
  readonly name: string;
  /** Address of health and metrics; `undefined` if they are not served. */
  readonly http: ListenAddress | undefined;
}

/** Ends the daemon that this process runs; `undefined`: it runs none. */
let end: ((failure: Failure) => void) | undefined;

/**
 * Ends the daemon of this process at once, with code 1, for a failure after which only a new
 * process can go on. Does nothing in a process that runs no daemon.
 */
export function endDaemon(failure: Failure): void {
  end?.(failure);
}

const NO_TELEMETRY: Telemetry = { isServing: () => true, checks: [], metrics: [] };

/**
 * Runs a daemon until SIGTERM or SIGINT, then stops it within 10 seconds, even if it is still
 * starting. A second signal ends the process at once. The process exits with the daemon. Throws the
 * Failure of a daemon that cannot start. An uncaught exception is logged and ends the process: a
 * daemon in an unknown state must not serve.
 */
export async function runDaemon(log: Log, start: () => Promise<Daemon>, telemetryOptions?: TelemetryOptions): Promise<never> {
  end = ({ message, advice }) => {
    log.fatal({ advice }, `${message}; exiting`);
    exitNow(EXIT.failed);
  };
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
  // A file that is replaced while the daemon starts may have been read before: reload it after.
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

/** Loads the HTTP server only if it is configured. */
async function serve(options: HttpOptions): Promise<HttpServer> {
  const { serveHttp } = await import('../telemetry/http/server.js');
  return serveHttp(options);
}

/** Returns the innermost frame of the stack, with file and line, for a bug report. */
function topFrame(error: Error): string | undefined {
  return error.stack?.split('\n')[1]?.trim();
}
