/** What the auth-server counts as it works. */

import { type LinkRefusal, type Refusal, REFUSALS } from '@latchkey/protocol';
import { Durations, Tally } from '@latchkey/runtime';

/** How M7 ended, and M2 where it was refused. */
type Outcome = 'joined' | 'renewed' | LinkRefusal | 'malformed' | 'notAuthentic';

/** Those that M9 carries, and two that it cannot. */
const REASONS = (Object.keys(REFUSALS) as Refusal[]).filter(
  (name): name is Exclude<Outcome, 'joined' | 'renewed'> =>
    'reason' in REFUSALS[name] || name === 'malformed' || name === 'notAuthentic',
);

export class AuthServerCounts {
  readonly joins: Tally<Outcome> = new Tally<Outcome>(['joined', 'renewed', ...REASONS]);
  /** From a request to its answer. */
  readonly exchanges: Readonly<Record<'M2' | 'M7', Durations>> = { M2: new Durations(), M7: new Durations() };
}
