/** What the node counts as it works. */

import { ClientMetrics } from '@latchkey/coap';
import { Histogram, LabelledCounter } from '@latchkey/runtime/telemetry';
import type { AttemptResult } from './attempt-result.js';

/**
 * Codes that a controller refuses with; any other is `other code`, as who answers may be anybody.
 */
const CODES = ['4.00', '4.01', '4.03', '4.04', '4.29', '5.03', '5.04'] as const;

/** Result of an attempt. `local failure`: a name that does not resolve, or a failed write. */
type AttemptOutcome =
  | 'joined'
  | 'wait'
  | 'no answer'
  | 'unreachable'
  | 'undecryptable'
  | 'local failure'
  | 'other code'
  | (typeof CODES)[number];

export class NodeMetrics {
  readonly joins: LabelledCounter<AttemptOutcome> = new LabelledCounter<AttemptOutcome>([
    'joined',
    'wait',
    'no answer',
    'unreachable',
    'undecryptable',
    'local failure',
    'other code',
    ...CODES,
  ]);
  /** From a request to the answer that opens, or to giving up. */
  readonly exchanges: Readonly<Record<'M1' | 'M5', Histogram>> = { M1: new Histogram(), M5: new Histogram() };
  readonly client: ClientMetrics = new ClientMetrics();
  /** Attempts since the last that gave a key. */
  failuresInRow = 0;

  /** @param result `undefined` if the attempt could not start, or its result could not be stored */
  recordResult(result: AttemptResult | undefined): void {
    const outcome = result === undefined ? 'local failure' : outcomeOf(result);
    this.joins.increment(outcome);
    this.failuresInRow = outcome === 'joined' ? 0 : this.failuresInRow + 1;
  }
}

function outcomeOf(result: AttemptResult): AttemptOutcome {
  if (result.kind !== 'failed') return result.kind;
  if (result.reason.kind !== 'refused') return result.reason.kind;
  const { code } = result.reason;
  return CODES.find((known) => known === code) ?? 'other code';
}
