/** The parts of the engine that a world with a shared registry plays with. */

import { Engine, PostgresStorage } from '@latchkey/registry/postgres/simulation';
import type { LinkRules } from './link.js';
import { SimulatedLastSeen } from './last-seen.js';

export interface DatabaseRules {
  readonly Engine: typeof Engine;
  readonly Storage: typeof PostgresStorage;
  readonly LastSeen: typeof SimulatedLastSeen;
  readonly link: LinkRules;
}

export const ENGINE_RULES: DatabaseRules = {
  Engine,
  Storage: PostgresStorage,
  LastSeen: SimulatedLastSeen,
  link: { sent: (statement) => statement, hearsWarnings: true },
};
