/** What the auth-server, or a controller with the registry inside, lets others see. */

import {
  type Check,
  type CoapServer,
  commitsMetric,
  dropsMetric,
  type Histogram,
  exchangesMetric,
  joinsMetric,
  type Log,
  type Metric,
  type Telemetry,
  type ServerMetrics,
} from '@latchkey/runtime';
import type { AuthServer } from './auth-server.js';
import { Census } from './census.js';
import type { Registry } from './registry.js';

export class RegistryObservation {
  readonly checks: readonly Check[];
  /** By store, for the metric that a daemon has for all its stores. */
  readonly commits: Readonly<Record<'registry', Histogram>>;
  readonly metrics: readonly Metric[];
  readonly #census: Census;

  constructor(registry: Registry, server: AuthServer, log: Log) {
    this.#census = new Census(registry, log);
    this.checks = [
      { name: 'registry', watchdog: 'required', run: () => registry.probe(Date.now()).then(() => undefined) },
      { name: 'clock', watchdog: 'told', run: () => server.clockFault(), cacheMs: 0 },
    ];
    this.commits = { registry: registry.commits };
    this.metrics = [
      ...this.#census.metrics(),
      { type: 'gauge', name: 'latchkey_commits_in_work', help: 'Commits under way', read: () => registry.commitsUnderWay },
      { type: 'gauge', name: 'latchkey_audit_entries', help: 'Entries in the audit log', read: () => registry.audit.length },
    ];
  }

  close(): void {
    this.#census.close();
  }
}

export function observe(
  server: AuthServer,
  registry: RegistryObservation,
  sockets: readonly CoapServer[],
  counts: ServerMetrics,
): Telemetry {
  return {
    isServing: () => sockets.every((socket) => socket.isOpen),
    checks: registry.checks,
    metrics: [
      joinsMetric(server.counts.joins),
      exchangesMetric(server.counts.exchanges),
      commitsMetric(registry.commits),
      ...registry.metrics,
      ...counts.definitions(),
      dropsMetric(counts.drops),
    ],
  };
}
