/** Telemetry of the controller. */

import type { RegistryTelemetry } from '@latchkey/auth-server';
import type { KeyServer } from '@latchkey/key-delivery';
import type { ApplicationRootStore } from '@latchkey/key-delivery/store';
import { MAX_LINK_MESSAGES, type Respondent } from '@latchkey/protocol';
import {
  type Check,
  commitsMetric,
  dropsMetric,
  exchangesMetric,
  joinsMetric,
  type Metric,
  type Telemetry,
} from '@latchkey/runtime/telemetry';
import type { ClientMetrics, CoapServer, ServerMetrics } from '@latchkey/coap';
import type { Controller } from './controller.js';
import type { KeyFeed } from './key-feed.js';
import type { TidAllocator } from './tid-allocator.js';

interface TelemetrySources {
  readonly controller: Controller;
  readonly respondent: Respondent;
  /** Open transactions that it may have. */
  readonly maxTransactions: number;
  readonly applicationRoots: ApplicationRootStore;
  readonly keyFeed: KeyFeed;
  readonly tids: TidAllocator;
  readonly sockets: readonly CoapServer[];
  readonly keyServer: KeyServer | undefined;
  readonly serverMetrics: ServerMetrics;
  /** Towards auth-servers. */
  readonly upstreamMetrics: ClientMetrics;
  /** Whether M2 and M7 get answers that help. */
  readonly linkChecks: readonly Check[];
  /** In combined mode. */
  readonly registry: RegistryTelemetry | undefined;
}

export function telemetryOf({
  controller,
  respondent,
  maxTransactions,
  applicationRoots,
  keyFeed,
  tids,
  sockets,
  keyServer,
  serverMetrics,
  upstreamMetrics,
  linkChecks,
  registry,
}: TelemetrySources): Telemetry {
  return {
    isServing: () => sockets.every((socket) => socket.isOpen) && keyServer?.isOpen !== false,
    checks: [
      { name: 'store', watchdog: 'required', run: () => applicationRoots.probe(Date.now()).then(() => tids.probe()) },
      ...linkChecks,
      { name: 'key_feed', watchdog: 'reported', run: () => keyFeed.fault(), cacheMs: 0 },
    ],
    metrics: [
      joinsMetric(controller.metrics.joins),
      exchangesMetric(controller.metrics.exchanges),
      commitsMetric({ keys: applicationRoots.putDurations, ...registry?.commitDurations }),
      gauge('latchkey_transactions_open', 'Transactions that wait for a message', () => respondent.pendingCount),
      gauge('latchkey_transactions_bound', 'Open transactions that there may be', () => maxTransactions),
      gauge('latchkey_keys_stored', 'Nodes whose application root this controller keeps', () => applicationRoots.size),
      gauge(
        'latchkey_link_key_used_ratio',
        'The part that is used of what SK_cs may seal',
        () => tids.messages / MAX_LINK_MESSAGES,
      ),
      ...keyFeed.metrics(),
      ...(registry?.metrics ?? []),
      ...(keyServer?.metrics ?? []),
      ...serverMetrics.definitions(),
      ...upstreamMetrics.definitions(),
      dropsMetric(serverMetrics.drops, upstreamMetrics.drops),
    ],
  };
}

function gauge(name: string, help: string, read: () => number): Metric {
  return { type: 'gauge', name, help, read };
}
