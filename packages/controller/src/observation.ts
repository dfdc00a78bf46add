/** What the controller lets others see of it. */

import type { RegistryObservation } from '@latchkey/auth-server';
import { MAX_LINK_MESSAGES, type Respondent } from '@latchkey/protocol';
import {
  type Check,
  type ClientMetrics,
  type CoapServer,
  commitsMetric,
  dropsMetric,
  exchangesMetric,
  joinsMetric,
  type Metric,
  type Telemetry,
  type ServerMetrics,
} from '@latchkey/runtime';
import type { Controller } from './controller.js';
import type { PskStore } from './psk-store.js';
import type { Serials } from './serials.js';

interface Observed {
  readonly controller: Controller;
  readonly respondent: Respondent;
  /** Open transactions that it may have. */
  readonly bound: number;
  readonly psks: PskStore;
  readonly serials: Serials;
  readonly sockets: readonly CoapServer[];
  readonly served: ServerMetrics;
  /** Towards auth-servers. */
  readonly asked: ClientMetrics;
  /** Whether M2 and M7 get answers that help. */
  readonly linkChecks: readonly Check[];
  /** In combined mode. */
  readonly registry: RegistryObservation | undefined;
}

export function observe({
  controller,
  respondent,
  bound,
  psks,
  serials,
  sockets,
  served,
  asked,
  linkChecks,
  registry,
}: Observed): Telemetry {
  return {
    isServing: () => sockets.every((socket) => socket.isOpen),
    checks: [
      { name: 'store', watchdog: 'required', run: () => psks.probe(Date.now()).then(() => serials.probe()) },
      ...linkChecks,
    ],
    metrics: [
      joinsMetric(controller.counts.joins),
      exchangesMetric(controller.counts.exchanges),
      commitsMetric({ keys: psks.puts, ...registry?.commits }),
      gauge('latchkey_transactions_open', 'Transactions that wait for a message', () => respondent.pendingCount),
      gauge('latchkey_transactions_bound', 'Open transactions that there may be', () => bound),
      gauge('latchkey_keys_stored', 'Nodes whose key this controller keeps', () => psks.size),
      gauge(
        'latchkey_link_key_used_ratio',
        'The part that is used of what SK_cs may seal',
        () => serials.messages / MAX_LINK_MESSAGES,
      ),
      ...(registry?.metrics ?? []),
      ...served.definitions(),
      ...asked.definitions(),
      dropsMetric(served.drops, asked.drops),
    ],
  };
}

function gauge(name: string, help: string, read: () => number): Metric {
  return { type: 'gauge', name, help, read };
}
