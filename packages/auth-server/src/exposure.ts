/**
 * Who could know an initial key: whom it was given to, and which controllers were shown it; and how many nodes it still opens the door
 * for. An IK that no node holds any more is retired: it is nowhere in the registry but for its fingerprint.
 */

import type { Registry } from './registry.js';
import { GivenIk } from './rows.js';

interface Giving {
  readonly order: number;
  readonly installer: string;
  /** ms since the epoch. */
  readonly at: number;
}

export interface Exposure {
  /** One IK, or all of an order together. */
  readonly keys:
    | { readonly kind: 'one'; readonly fingerprint: string }
    | { readonly kind: 'order'; readonly order: number; readonly count: number };
  readonly given: readonly Giving[];
  readonly nodes: number;
  /** Nodes whose key it still is, and nodes that traded it in. */
  readonly held: number;
  readonly joined: number;
  readonly controllers: readonly number[];
  /** When the last node traded it in, or had it taken. */
  readonly retiredAt: number | undefined;
}

/** An IK in one node's hands, now or once. */
interface Holding {
  readonly identity: string;
  readonly fingerprint: string;
  readonly order: number;
  readonly givenAt: number;
  readonly seenBy: readonly number[];
  readonly held: boolean;
  readonly joined: boolean;
  /** When the node traded it in or had it taken, ms since the epoch. */
  readonly until: number;
}

function* holdings(registry: Registry): Generator<Holding> {
  for (const { ik, order, seenBy, initial, joinedAt } of registry.nodes()) {
    const { identity, fingerprint, givenAt } = ik;
    yield { identity, fingerprint, givenAt, order, seenBy, held: initial, joined: !initial, until: joinedAt ?? 0 };
  }
  for (const { value } of registry.tables.formerIks.getRange()) {
    const { order, givenAt, at, joined, seenBy } = value;
    const { identity, fingerprint } = new GivenIk(value.ik, givenAt);
    yield { identity, fingerprint, order, givenAt, seenBy, held: false, joined, until: at };
  }
}

class Count {
  readonly given = new Map<string, { readonly order: number; readonly at: number }>();
  readonly controllers = new Set<number>();
  nodes = 0;
  held = 0;
  joined = 0;
  latest = 0;

  add({ order, givenAt, seenBy, held, joined, until }: Holding): void {
    this.given.set(`${order} ${givenAt}`, { order, at: givenAt });
    for (const idC of seenBy) this.controllers.add(idC);
    this.nodes += 1;
    if (held) this.held += 1;
    if (joined) this.joined += 1;
    this.latest = Math.max(this.latest, until);
  }

  exposure(registry: Registry, keys: Exposure['keys']): Exposure {
    const given = [...this.given.values()]
      .toSorted((a, b) => a.at - b.at)
      .map(({ order, at }) => ({ order, installer: registry.order(order)?.installer ?? '', at }));
    const { nodes, held, joined, latest } = this;
    const controllers = [...this.controllers].toSorted((a, b) => a - b);
    return { keys, given, nodes, held, joined, controllers, retiredAt: held === 0 && latest > 0 ? latest : undefined };
  }
}

/** Each IK of one order; also what other orders have of it. */
export function exposureOf(registry: Registry, order: number): Exposure[] {
  const keys = new Map<string, { readonly fingerprint: string; readonly count: Count }>();
  for (const { identity, fingerprint, order: of } of holdings(registry)) {
    if (of === order && !keys.has(identity)) keys.set(identity, { fingerprint, count: new Count() });
  }
  for (const holding of holdings(registry)) keys.get(holding.identity)?.count.add(holding);
  return [...keys.values()].map(({ fingerprint, count }) => count.exposure(registry, { kind: 'one', fingerprint }));
}

/** One line an order; an order with one IK for all tells of that IK, wherever else it is. */
export function exposures(registry: Registry): Exposure[] {
  const orders = new Map<
    number,
    { readonly identity: string; readonly fingerprint: string; several: boolean; readonly count: Count }
  >();
  for (const holding of holdings(registry)) {
    const { identity, fingerprint, order } = holding;
    const there = orders.get(order) ?? { identity, fingerprint, several: false, count: new Count() };
    if (there.identity !== identity) there.several = true;
    there.count.add(holding);
    orders.set(order, there);
  }
  const shared = new Map<string, Count>();
  for (const { several, identity } of orders.values()) if (!several) shared.set(identity, new Count());
  for (const holding of holdings(registry)) shared.get(holding.identity)?.add(holding);
  return [...orders]
    .toSorted(([a], [b]) => a - b)
    .map(([order, { several, identity, fingerprint, count }]) =>
      several
        ? count.exposure(registry, { kind: 'order', order, count: count.nodes })
        : (shared.get(identity) ?? count).exposure(registry, { kind: 'one', fingerprint }),
    );
}
