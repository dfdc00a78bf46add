/** Telemetry of a node. It never names the node's ID, its keys or its controller. */

import { type Check, dropsMetric, exchangesMetric, joinsMetric, type Metric, type Telemetry } from '@latchkey/runtime/telemetry';
import { probeFolder } from '@latchkey/runtime/files';
import type { NodeClocks } from '@latchkey/protocol';
import type { NodeAgent } from './node-agent.js';
import { confirmedAt, expiryOf } from './key-lease.js';
import type { NodeFile } from './node-file.js';

/** A probe writes to flash: not at every look, in ms. */
const STORE_CACHE_MS = 60_000;

/** @param targets telemetry of the targets */
export function telemetryOf(
  agent: NodeAgent,
  file: NodeFile,
  folder: string,
  targets: Pick<Telemetry, 'checks' | 'metrics'> = { checks: [], metrics: [] },
): Telemetry {
  const { metrics } = agent;
  const checks: Check[] = [
    { name: 'key', watchdog: 'reported', run: () => keyFault(file, agent.clocks()), cacheMs: 0 },
    { name: 'store', run: () => probeFolder(folder).then(() => undefined), cacheMs: STORE_CACHE_MS },
    ...targets.checks,
  ];
  return {
    isServing: () => true,
    checks,
    metrics: [
      joinsMetric(metrics.joins),
      exchangesMetric(metrics.exchanges),
      gauge('latchkey_node_joined', 'Whether the node has a key of its own', () => (file.record.state.initial ? 0 : 1)),
      gauge('latchkey_node_failures', 'Attempts in a row that gave no key', () => metrics.failuresInRow),
      {
        type: 'gauge',
        name: 'latchkey_key_renewed_timestamp_seconds',
        help: 'When the node got the key it has',
        read: () => seconds(file.record.keyLease && confirmedAt(file.record.keyLease, agent.clocks())),
      },
      {
        type: 'gauge',
        name: 'latchkey_key_expiry_timestamp_seconds',
        help: 'When the key expires, where it does',
        read: () => seconds(expiryOf(file.record, agent.clocks())),
      },
      ...metrics.client.definitions(),
      dropsMetric(metrics.client.drops),
      ...targets.metrics,
    ],
  };
}

function keyFault(file: NodeFile, now: NodeClocks): string | undefined {
  const { state, keyLease } = file.record;
  if (state.initial || keyLease === undefined) return 'the node has not joined yet: it holds its initial key';
  return now.wallMs > (expiryOf(file.record, now) ?? Infinity) ? 'the key has expired' : undefined;
}

function seconds(ms: number | undefined): { readonly value: number }[] {
  return ms === undefined ? [] : [{ value: ms / 1000 }];
}

function gauge(name: string, help: string, read: () => number): Metric {
  return { type: 'gauge', name, help, read };
}
