/** What befalls the database of a world. */

import type { DatabaseIncident } from './cluster.js';
import type { LinkConditions } from './link.js';

export interface SharedScenario {
  readonly link: LinkConditions;
  readonly incidents: readonly DatabaseIncident[];
  /** Nodes are reset, and controllers switched, while slow reads go on. */
  readonly resetsBetweenReads?: boolean;
}
