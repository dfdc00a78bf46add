/** Telemetry of the auth-server, or of a controller in combined mode. */

import {
  type Check,
  commitsMetric,
  dropsMetric,
  type Histogram,
  exchangesMetric,
  joinsMetric,
  type Metric,
  samples,
  type Telemetry,
} from '@latchkey/runtime/telemetry';
import type { CoapServer, ServerMetrics } from '@latchkey/coap';
import { type Clock, type Log, readClock } from '@latchkey/runtime/daemon';
import type { AuthServer } from '../server/auth-server.js';
import { RegistryStatistics } from './registry-statistics.js';
import type { Registry } from '@latchkey/registry';

/** Telemetry of a registry in a database. */
interface ServedFrom {
  readonly clock?: Clock;
  /** Why nothing can be served from the registry, if that is known without a read. */
  readonly fault?: () => string | undefined;
  readonly metrics?: readonly Metric[];
}

export class RegistryTelemetry {
  readonly checks: readonly Check[];
  /** By store, for the metric that a daemon has for all its stores. */
  readonly commitDurations: Readonly<Record<'registry', Histogram>>;
  readonly metrics: readonly Metric[];
  readonly #statistics: RegistryStatistics;

  constructor(registry: Registry, server: AuthServer, log: Log, { clock = readClock, fault, metrics = [] }: ServedFrom = {}) {
    this.#statistics = new RegistryStatistics(registry, log);
    this.checks = [
      { name: 'registry', watchdog: 'required', run: () => probe(registry, clock, fault) },
      { name: 'clock', watchdog: 'reported', run: () => server.clockFault(), cacheMs: 0 },
    ];
    this.commitDurations = { registry: registry.commitDurations };
    this.metrics = [
      ...this.#statistics.metrics(),
      {
        type: 'counter',
        name: 'latchkey_key_feed_requests_total',
        help: "Controllers' questions about their nodes' keys, by outcome",
        labels: ['outcome'],
        read: () => samples('outcome', server.keyFeed.outcomes),
      },
      { type: 'gauge', name: 'latchkey_commits_in_flight', help: 'Commits under way', read: () => registry.pendingCommitCount },
      ...metrics,
    ];
  }

  close(): void {
    this.#statistics.close();
  }
}

export function telemetryOf(
  server: AuthServer,
  registry: RegistryTelemetry,
  sockets: readonly CoapServer[],
  serverMetrics: ServerMetrics,
  keySockets?: Telemetry,
): Telemetry {
  return {
    isServing: () => sockets.every((socket) => socket.isOpen) && keySockets?.isServing() !== false,
    checks: [...registry.checks, ...(keySockets?.checks ?? [])],
    metrics: [
      joinsMetric(server.metrics.joins),
      exchangesMetric(server.metrics.exchanges),
      commitsMetric(registry.commitDurations),
      ...registry.metrics,
      ...(keySockets?.metrics ?? []),
      ...serverMetrics.definitions(),
      dropsMetric(serverMetrics.drops),
    ],
  };
}

async function probe(registry: Registry, clock: Clock, fault: ServedFrom['fault']): Promise<string | undefined> {
  const known = fault?.();
  if (known === undefined) await registry.probe(clock().wallMs);
  return known;
}
