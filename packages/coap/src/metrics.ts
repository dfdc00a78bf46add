/**
 * What CoAP endpoints count as they work. One of these may be shared by several sockets of a
 * daemon.
 */

import { samples, type Metric, LabelledCounter } from '@latchkey/runtime/telemetry';
import { DROP_CAUSES, type DropCause } from './guard.js';

/** Of a daemon's servers. */
export class ServerMetrics {
  readonly drops: LabelledCounter<DropCause> = new LabelledCounter(DROP_CAUSES);
  /** Answers by CoAP code, but those of the guard. */
  readonly answers: LabelledCounter<string> = new LabelledCounter();
  /** Copies of requests that were being worked on. */
  retransmissions = 0;
  inFlight = 0;

  /** Without drops, which a daemon reports once for all its sockets. */
  definitions(): Metric[] {
    return [
      {
        type: 'counter',
        name: 'latchkey_answers_total',
        help: 'Requests answered, by CoAP code',
        labels: ['code'],
        read: () => samples('code', this.answers),
      },
      {
        type: 'counter',
        name: 'latchkey_retransmissions_received_total',
        help: 'Copies of requests that came while the first was being worked on',
        read: () => this.retransmissions,
      },
      { type: 'gauge', name: 'latchkey_requests_in_flight', help: 'Requests being worked on', read: () => this.inFlight },
    ];
  }
}

/** Of a daemon's clients. */
export class ClientMetrics {
  readonly drops: LabelledCounter<DropCause> = new LabelledCounter(DROP_CAUSES);
  requests = 0;
  retransmissions = 0;

  definitions(): Metric[] {
    return [
      {
        type: 'counter',
        name: 'latchkey_requests_sent_total',
        help: 'Requests sent, copies left out',
        read: () => this.requests,
      },
      {
        type: 'counter',
        name: 'latchkey_retransmissions_sent_total',
        help: 'Copies of requests sent again for want of an answer',
        read: () => this.retransmissions,
      },
    ];
  }
}
