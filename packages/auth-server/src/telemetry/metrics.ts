/** What the auth-server counts as it works. */

import { type LinkRefusal, type Refusal, REFUSALS } from '@latchkey/protocol';
import { Histogram, LabelledCounter } from '@latchkey/runtime/telemetry';

/** How M7 ended, and M2 where it was refused. */
type JoinOutcome = 'joined' | 'renewed' | LinkRefusal | 'malformed' | 'notAuthentic';

/** Those that M9 carries, and two that it cannot. */
const REJECTION_REASONS = (Object.keys(REFUSALS) as Refusal[]).filter(
  (name): name is Exclude<JoinOutcome, 'joined' | 'renewed'> =>
    'reason' in REFUSALS[name] || name === 'malformed' || name === 'notAuthentic',
);

export class AuthServerMetrics {
  readonly joins: LabelledCounter<JoinOutcome> = new LabelledCounter<JoinOutcome>(['joined', 'renewed', ...REJECTION_REASONS]);
  /** From a request to its answer. */
  readonly exchanges: Readonly<Record<'M2' | 'M7' | 'M12', Histogram>> = {
    M2: new Histogram(),
    M7: new Histogram(),
    M12: new Histogram(),
  };
}
