/** Families of numbers that several daemons have, so that they have one name and one meaning. */

import type { Metric, Sample } from './telemetry.js';
import type { Histogram, LabelledCounter } from './counter.js';

/** Samples of a tally under one label. */
export function samples(label: string, counts: Iterable<readonly [string, number]>): Sample[] {
  return [...counts].map(([name, value]) => ({ labels: { [label]: name }, value }));
}

/** Datagrams dropped at all sockets of a daemon, servers' and clients'. */
export function dropsMetric(...counters: readonly LabelledCounter<string>[]): Metric {
  return {
    type: 'counter',
    name: 'latchkey_datagrams_dropped_total',
    help: 'Datagrams that the guard did not let in, by cause',
    labels: ['cause'],
    read: () => {
      const sums = new Map<string, number>();
      for (const counter of counters) for (const [cause, times] of counter) sums.set(cause, (sums.get(cause) ?? 0) + times);
      return samples('cause', sums);
    },
  };
}

/** How joins ended; whatever is not `joined` or `renewed` is the reason of a refusal or failure. */
export function joinsMetric(joins: Iterable<readonly [string, number]>): Metric {
  return {
    type: 'counter',
    name: 'latchkey_joins_total',
    help: 'Joins and renewals by outcome, and by reason where there is no new key',
    labels: ['outcome', 'reason'],
    read: () =>
      [...joins].map(([name, value]) => {
        const succeeded = name === 'joined' || name === 'renewed';
        return { labels: { outcome: succeeded ? name : 'failed', reason: succeeded ? '' : name }, value };
      }),
  };
}

/** @param exchanges by the message that asks: `M1`, `M5`, ... */
export function exchangesMetric(exchanges: Readonly<Record<string, Histogram>>): Metric {
  return {
    type: 'histogram',
    name: 'latchkey_exchange_seconds',
    help: 'From a request to its answer, by the message that asks',
    read: () => Object.entries(exchanges).map(([message, histogram]) => ({ labels: { message }, histogram })),
  };
}

/** @param commits by store: `registry`, `keys` */
export function commitsMetric(commits: Readonly<Record<string, Histogram>>): Metric {
  return {
    type: 'histogram',
    name: 'latchkey_store_commit_seconds',
    help: 'From handing a key to a store to its being on the disk',
    read: () => Object.entries(commits).map(([store, histogram]) => ({ labels: { store }, histogram })),
  };
}
