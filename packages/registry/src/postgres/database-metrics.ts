/** What a server counts of its work with the database. */

import { Histogram, type Metric } from '@latchkey/runtime/telemetry';
import type { PostgresHost } from './config.js';
import { formatHost } from './connection.js';

/** Which database answers. */
interface ServedFrom {
  readonly host: PostgresHost;
  readonly timeline: number;
}

export class DatabaseMetrics {
  /** From request to answer, including the wait for a turn. */
  readonly reads: Histogram = new Histogram();
  readonly writes: Histogram = new Histogram();
  /** Writes of which it was not known whether they happened. */
  inDoubt = 0;
  /**
   * When the last heartbeat was through, ms since the epoch by this machine's clock; 0: none was.
   */
  heartbeatAt = 0;

  /** `servedFrom`: `undefined` while no host serves. */
  definitions(hosts: readonly PostgresHost[], servedFrom: () => ServedFrom | undefined): readonly Metric[] {
    return [
      {
        type: 'histogram',
        name: 'latchkey_database_read_seconds',
        help: 'From asking the database for rows to having them, with a standby',
        read: () => [{ histogram: this.reads }],
      },
      {
        type: 'histogram',
        name: 'latchkey_database_write_seconds',
        help: 'From handing a write to the database to its being on a standby',
        read: () => [{ histogram: this.writes }],
      },
      {
        type: 'counter',
        name: 'latchkey_database_writes_in_doubt_total',
        help: 'Writes of which the database did not say whether they happened',
        read: () => this.inDoubt,
      },
      {
        type: 'gauge',
        name: 'latchkey_database_connected',
        help: 'Whether this server works with that host of the database',
        labels: ['host'],
        read: () => {
          const at = servedFrom()?.host;
          return hosts.map((host) => ({ labels: { host: formatHost(host) }, value: host === at ? 1 : 0 }));
        },
      },
      {
        type: 'gauge',
        name: 'latchkey_database_timeline',
        help: 'Timeline of the database that this server works with: each promotion begins another',
        read: () => {
          const timeline = servedFrom()?.timeline;
          return timeline === undefined ? [] : [{ value: timeline }];
        },
      },
      {
        type: 'gauge',
        name: 'latchkey_database_heartbeat_timestamp_seconds',
        help: 'When this server last had everything it needs from the database, which it asks for each second',
        read: () => this.heartbeatAt / 1_000,
      },
    ];
  }
}
