/**
 * The engine's interface to its machine: connections and time. A simulation has a separate
 * implementation.
 */

import { readFileSync } from 'node:fs';
import { monotonicNow } from '@latchkey/runtime/daemon';
import type { PostgresConfig, PostgresHost } from './config.js';
import { Connection, type ConnectionOptions, type Credentials, readCredentials } from './connection.js';

/** A connection, as `Connection` has it: each method means the same. */
export type DatabaseConnection = Pick<Connection, 'notices' | 'warning' | 'send' | 'run' | 'close' | 'destroy'>;

export interface Environment {
  readonly readCredentials: (config: PostgresConfig) => Promise<Credentials>;
  readonly connect: (
    host: PostgresHost,
    config: PostgresConfig,
    credentials: Credentials,
    settings: Readonly<Record<string, string>>,
    options?: ConnectionOptions,
  ) => Promise<DatabaseConnection>;
  /** ms since some moment, never set back. `SqlResult.at` is by it. */
  readonly now: () => number;
  /** The monotonic clock of the machine, in ms: the same for all processes on it. */
  readonly monotonicNow: () => number;
  /** Identifies the boot from which the machine's monotonic clock counts. */
  readonly bootId: () => string;
  /** Calls `action` after `ms`. Returns a function that prevents it. */
  readonly after: (ms: number, action: () => void) => () => void;
  /** Calls `action` every `ms`; that does not keep the process alive. Returns what ends it. */
  readonly every: (ms: number, action: () => void) => () => void;
}

export const MACHINE: Environment = {
  readCredentials,
  connect: (...to) => Connection.open(...to),
  now: () => performance.now(),
  monotonicNow,
  bootId,
  after: (ms, action) => {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
  every: (ms, action) => {
    const timer = setInterval(action, ms).unref();
    return () => clearInterval(timer);
  },
};

/** Resolves after `ms`. */
export function pause({ after }: Pick<Environment, 'after'>, ms: number): Promise<void> {
  return new Promise((resolve) => {
    after(ms, resolve);
  });
}

let boot: string | undefined;

/** Returns a separate value for each process if the system has none. */
function bootId(): string {
  try {
    boot ??= readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim();
  } catch {
    boot = crypto.randomUUID();
  }
  return boot;
}
