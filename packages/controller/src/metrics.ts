/** What the controller counts as it works. */

import { type Refusal, REFUSALS } from '@latchkey/protocol';
import { Histogram, LabelledCounter } from '@latchkey/runtime/telemetry';

/** How M5 ended, and M1 where it was refused. */
type JoinOutcome = 'joined' | Refusal;

export class ControllerMetrics {
  readonly joins: LabelledCounter<JoinOutcome> = new LabelledCounter<JoinOutcome>([
    'joined',
    ...(Object.keys(REFUSALS) as Refusal[]),
  ]);
  /** From a request to its answer, where an auth-server was asked for it. */
  readonly exchanges: Readonly<Record<'M1' | 'M5', Histogram>> = { M1: new Histogram(), M5: new Histogram() };
}
