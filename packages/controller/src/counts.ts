/** What the controller counts as it works. */

import { type Refusal, REFUSALS } from '@latchkey/protocol';
import { Durations, Tally } from '@latchkey/runtime';

/** How M5 ended, and M1 where it was refused. */
type Outcome = 'joined' | Refusal;

export class ControllerCounts {
  readonly joins: Tally<Outcome> = new Tally<Outcome>(['joined', ...(Object.keys(REFUSALS) as Refusal[])]);
  /** From a request to its answer, where an auth-server was asked for it. */
  readonly exchanges: Readonly<Record<'M1' | 'M5', Durations>> = { M1: new Durations(), M5: new Durations() };
}
