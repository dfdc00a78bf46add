/** A daemon's metrics in Prometheus' format, read from their counters at each scrape. */

import type * as Prom from 'prom-client';
import { environment } from '../../config/environment.js';
import type { Metric, Sample } from '../telemetry.js';
import { DEFAULT_BUCKETS } from '../counter.js';
import { readVersion } from '../../version.js';
import type { Readiness } from './readiness.js';

/** Information about the program itself. */
export interface DaemonInfo {
  readonly daemon: string;
}

export interface Exposition {
  readonly contentType: string;
  read(): Promise<string>;
  /** Stops what measures the process. */
  close(): void;
}

export async function expose(info: DaemonInfo, metrics: readonly Metric[], readiness: Readiness): Promise<Exposition> {
  const { default: prom } = await import('prom-client');
  const registry = new prom.Registry();
  for (const metric of [buildInfo(info), ...metrics]) {
    registry.registerMetric(metric.type === 'histogram' ? toPromHistogram(metric) : toPromMetric(prom, metric));
  }
  const ok = new prom.Gauge({
    name: 'latchkey_check_ok',
    help: 'Whether what the daemon depends on works, as in /readyz',
    labelNames: ['check'],
    registers: [registry],
  });
  prom.collectDefaultMetrics({ register: registry, eventLoopMonitoringPrecision: EVENT_LOOP_RESOLUTION_MS });
  return {
    contentType: registry.contentType,
    async read() {
      for (const { name, fault } of await readiness.check()) ok.set({ check: name }, fault === undefined ? 1 : 0);
      return registry.metrics();
    },
    close: () => registry.clear(),
  };
}

/** How closely the event loop's delay is watched, in ms: closer costs wake-ups. */
const EVENT_LOOP_RESOLUTION_MS = 100;

type NumberMetric = Extract<Metric, { type: 'counter' | 'gauge' }>;
type HistogramMetric = Extract<Metric, { type: 'histogram' }>;

function toPromMetric(prom: typeof Prom.default, metric: NumberMetric): Prom.Metric {
  const { name, help, labels = [], type } = metric;
  const options = { name, help, labelNames: [...labels], registers: [] };
  const read = (): Iterable<Sample> => {
    const samples = metric.read();
    return typeof samples === 'number' ? [{ value: samples }] : samples;
  };
  if (type === 'counter') {
    return new prom.Counter({
      ...options,
      collect() {
        this.reset();
        for (const { labels: of = {}, value } of read()) this.inc(of, value);
      },
    });
  }
  return new prom.Gauge({
    ...options,
    collect() {
      this.reset();
      for (const { labels: of = {}, value } of read()) this.set(of, value);
    },
  });
}

/**
 * What prom-client asks of a metric when it writes them all; its own histograms cannot be set from
 * numbers that are there already.
 */
function toPromHistogram({ name, help, read }: HistogramMetric): Prom.Metric {
  const values = (): object[] => {
    const lines: object[] = [];
    for (const { labels = {}, histogram } of read()) {
      const { cumulative, sum } = histogram;
      for (const [i, value] of cumulative.entries())
        lines.push({ metricName: `${name}_bucket`, labels: { ...labels, le: DEFAULT_BUCKETS[i] ?? '+Inf' }, value });
      lines.push({ metricName: `${name}_sum`, labels, value: sum });
      lines.push({ metricName: `${name}_count`, labels, value: cumulative.at(-1) ?? 0 });
    }
    return lines;
  };
  const metric = { name, type: 'histogram', get: async () => ({ name, help, type: 'histogram', values: values() }) };
  return metric as unknown as Prom.Metric;
}

function buildInfo({ daemon }: DaemonInfo): Metric {
  const { version, gitHead } = readVersion();
  const revision = gitHead ?? environment('LATCHKEY_REVISION') ?? 'unknown';
  return {
    type: 'gauge',
    name: 'latchkey_build_info',
    help: 'Which program this is; always 1',
    labels: ['daemon', 'version', 'revision', 'node_version'],
    read: () => [{ labels: { daemon, version, revision, node_version: process.version }, value: 1 }],
  };
}
