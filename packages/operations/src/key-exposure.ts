/**
 * Reports who could know an initial key: the recipients of the key, or of either half of it, and
 * the controllers that received it. Also reports which controllers could have a key that derives
 * from it, and how many nodes it still admits. An IK that no node holds any more is retired: the
 * registry only has its fingerprint.
 */

import type { Registry } from '@latchkey/registry';
import { type Possession, possessions } from './key-possessions.js';

interface Issue {
  readonly order: number;
  readonly installer: string;
  /** ms since the epoch. */
  readonly at: number;
}

/** Who has the device keys. */
interface DeviceKeyHolder {
  readonly order: number;
  readonly manufacturer: string;
}

export interface Exposure {
  /** One IK, or all of an order together. */
  readonly keys:
    | { readonly kind: 'one'; readonly fingerprint: string }
    | { readonly kind: 'order'; readonly order: number; readonly count: number };
  /** Of the keys; of the installer's halves, if they are split. */
  readonly issues: readonly Issue[];
  /** Of the other halves; empty if the keys are whole. */
  readonly deviceKeyHolders: readonly DeviceKeyHolder[];
  /** Whether every one of the keys is split. */
  readonly split: boolean;
  readonly nodes: number;
  /** Nodes whose key it still is, and nodes that traded it in. */
  readonly held: number;
  readonly joined: number;
  /** Controllers through which a node traded it in, and so were given it. */
  readonly controllers: readonly number[];
  /** Controllers that could have it, or a key that derives from it: see `Possession`. */
  readonly holders: readonly number[];
  /** Whether more controllers than `holders` could have one. */
  readonly otherHolders: boolean;
  /** When the last node traded it in, or had it taken. */
  readonly retiredAt: number | undefined;
}

class ExposureTally {
  readonly issues = new Map<string, { readonly order: number; readonly at: number }>();
  readonly deviceKeyHolders = new Map<string, DeviceKeyHolder>();
  readonly controllers = new Set<number>();
  readonly holders = new Set<number>();
  otherHolders = false;
  nodes = 0;
  split = 0;
  held = 0;
  joined = 0;
  lastHeldAt = 0;

  add({ order, manufacturer, issuedAt, seenBy, holders, otherHolders, held, joined, heldUntil }: Possession): void {
    this.issues.set(`${order} ${issuedAt}`, { order, at: issuedAt });
    if (manufacturer !== undefined) {
      this.split += 1;
      this.deviceKeyHolders.set(`${order} ${manufacturer}`, { order, manufacturer });
    }
    for (const idC of seenBy) this.controllers.add(idC);
    for (const idC of holders) this.holders.add(idC);
    this.otherHolders ||= otherHolders;
    this.nodes += 1;
    if (held) this.held += 1;
    if (joined) this.joined += 1;
    this.lastHeldAt = Math.max(this.lastHeldAt, heldUntil);
  }

  toExposure(installers: ReadonlyMap<number, string>, keys: Exposure['keys']): Exposure {
    const given = [...this.issues.values()]
      .toSorted((a, b) => a.at - b.at)
      .map(({ order, at }) => ({ order, installer: installers.get(order) ?? '', at }));
    const { nodes, held, joined, lastHeldAt, otherHolders } = this;
    const [controllers, holders] = [sorted(this.controllers), sorted(this.holders)];
    return {
      keys,
      issues: given,
      deviceKeyHolders: [...this.deviceKeyHolders.values()].toSorted((a, b) => a.order - b.order),
      split: this.split === nodes,
      nodes,
      held,
      joined,
      controllers,
      holders,
      otherHolders,
      retiredAt: held === 0 && lastHeldAt > 0 ? lastHeldAt : undefined,
    };
  }
}

/** Each IK of one order; also what other orders have of it. */
export async function exposureOfOrder(registry: Registry, order: number): Promise<Exposure[]> {
  const keys = new Map<string, { readonly fingerprint: string; readonly count: ExposureTally }>();
  for await (const page of possessions(registry))
    for (const { initialKeyId, fingerprint, order: of } of page)
      if (of === order && !keys.has(initialKeyId)) keys.set(initialKeyId, { fingerprint, count: new ExposureTally() });
  for await (const page of possessions(registry))
    for (const possession of page) keys.get(possession.initialKeyId)?.count.add(possession);
  const installers = await installersByOrder(registry);
  return [...keys.values()].map(({ fingerprint, count }) => count.toExposure(installers, { kind: 'one', fingerprint }));
}

/**
 * Returns one line per order. If an order has one IK for all nodes, its line covers that IK
 * wherever else it is used.
 */
export async function exposureByOrder(registry: Registry): Promise<Exposure[]> {
  const orders = new Map<
    number,
    { readonly identity: string; readonly fingerprint: string; several: boolean; readonly count: ExposureTally }
  >();
  for await (const page of possessions(registry))
    for (const possession of page) {
      const { initialKeyId, fingerprint, order } = possession;
      const entry = orders.get(order) ?? { identity: initialKeyId, fingerprint, several: false, count: new ExposureTally() };
      if (entry.identity !== initialKeyId) entry.several = true;
      entry.count.add(possession);
      orders.set(order, entry);
    }
  const shared = new Map<string, ExposureTally>();
  for (const { several, identity } of orders.values()) if (!several) shared.set(identity, new ExposureTally());
  for await (const page of possessions(registry))
    for (const possession of page) shared.get(possession.initialKeyId)?.add(possession);
  // Last: an order that was met is among them.
  const installers = await installersByOrder(registry);
  return [...orders]
    .toSorted(([a], [b]) => a - b)
    .map(([order, { several, identity, fingerprint, count }]) =>
      several
        ? count.toExposure(installers, { kind: 'order', order, count: count.nodes })
        : (shared.get(identity) ?? count).toExposure(installers, { kind: 'one', fingerprint }),
    );
}

async function installersByOrder(registry: Registry): Promise<ReadonlyMap<number, string>> {
  return new Map((await registry.orders()).map(({ number, installer }) => [number, installer]));
}

function sorted(ids: Iterable<number>): number[] {
  return [...ids].toSorted((a, b) => a - b);
}
