/**
 * IDs that controllers asked for and that the registry does not have: a device whose order was not
 * imported, or whose ID was mistyped.
 */

import { formatId } from '@latchkey/protocol';
import { type NodeActivity, orderStatus, type Registry, type Snapshot } from '@latchkey/registry';
import { isoTime } from '@latchkey/runtime/iso-time';
import * as contract from './contract/waiting.js';
import type { WaitingDismissal, WaitingDismissInput, WaitingListInput, WaitingNode, WaitingPage } from './contract/waiting.js';
import { implement, type Operation } from './operation.js';
import { numberFromId } from './parse-input.js';

/** Rows per read: more than exist, because at 1,024 all of them are deleted. */
const MAX_ROWS = 2_048;
/** IDs whose neighbours are looked up in one read: each has 127. */
const IDS_PER_READ = 64;
const ID_DIGITS = 8;

interface Waiting {
  readonly idI: number;
  readonly since: number;
  readonly at: number;
  readonly count: number;
  readonly by: number;
}

export const waitingList: Operation<WaitingListInput, WaitingPage> = implement(
  contract.waitingList,
  async ({ registry, clock }, { after, limit }) => {
    const all = await waitingNodes(registry);
    const start = after === undefined ? 0 : all.filter(({ idI }) => idI <= numberFromId(after)).length;
    const page = all.slice(start, start + limit);
    const similar = await similarNodes(
      registry,
      page.map(({ idI }) => idI),
      clock().wallMs,
    );
    const last = page.at(-1);
    return {
      items: page.map((waiting) => viewWaiting(waiting, similar.get(waiting.idI) ?? [])),
      next: last === undefined || all.length <= start + limit ? null : formatId(last.idI),
      total: all.length,
    };
  },
);

export const waitingDismiss: Operation<WaitingDismissInput, WaitingDismissal> = implement(
  contract.waitingDismiss,
  async ({ registry }, { ids }) => {
    const named = new Set(ids.map(numberFromId));
    const dismissed = (await waitingNodes(registry)).map(({ idI }) => idI).filter((idI) => named.has(idI));
    if (dismissed.length > 0) await registry.write({}, () => ({ result: undefined, remove: { unknownNodeActivity: dismissed } }));
    return { dismissed: dismissed.length };
  },
);

function viewWaiting({ idI, since, at, count, by }: Waiting, similar: readonly number[]): WaitingNode {
  return {
    id: formatId(idI),
    since: isoTime(since),
    last_seen_at: isoTime(at),
    count,
    controller: formatId(by),
    similar: similar.map(formatId),
  };
}

/** In ascending order of ID, without those that have come to be in the registry. */
async function waitingNodes(registry: Registry): Promise<Waiting[]> {
  const rows = await registry.storage.unknownNodePage(0, MAX_ROWS);
  const found = await registry.storage.read({ nodes: rows.map(([idI]) => idI) });
  return rows.flatMap(([idI, activity]) => {
    const latest = found.node(idI) === undefined ? latestOf(activity) : undefined;
    return latest === undefined ? [] : [{ idI, since: latest.since, at: latest.at, count: latest.count, by: latest.by }];
  });
}

function latestOf({ rejected, keyRequested }: NodeActivity): Omit<Waiting, 'idI'> | undefined {
  if (rejected === undefined || keyRequested === undefined) return rejected ?? keyRequested;
  return rejected.at >= keyRequested.at ? rejected : keyRequested;
}

/** For each ID the nodes that are one typing error away, in ascending order. */
async function similarNodes(registry: Registry, ids: readonly number[], now: number): Promise<ReadonlyMap<number, number[]>> {
  const similar = new Map<number, number[]>();
  for (let from = 0; from < ids.length; from += IDS_PER_READ) {
    const neighbours = ids.slice(from, from + IDS_PER_READ).map((idI) => [idI, neighboursOf(idI)] as const);
    const found = await registry.storage.read({ nodes: [...new Set(neighbours.flatMap(([, others]) => others))] });
    for (const [idI, others] of neighbours)
      similar.set(
        idI,
        others.filter((other) => isThere(found, other, now)),
      );
  }
  return similar;
}

/** Nodes of an order that is not finished are not there for anybody. */
function isThere(found: Snapshot, idI: number, now: number): boolean {
  const row = found.node(idI)?.row;
  const order = row && found.order(row.order)?.row;
  return row !== undefined && order !== undefined && orderStatus({ number: row.order, ...order }, now) !== undefined;
}

/** The IDs that differ in one digit, or in two neighbours that changed places. */
function neighboursOf(idI: number): number[] {
  const neighbours = new Set<number>();
  const digitAt = (place: number): number => Math.floor(idI / 16 ** place) % 16;
  for (let place = 0; place < ID_DIGITS; place++) {
    const digit = digitAt(place);
    for (let other = 0; other < 16; other++) if (other !== digit) neighbours.add(idI + (other - digit) * 16 ** place);
    if (place + 1 === ID_DIGITS) continue;
    const next = digitAt(place + 1);
    if (next !== digit) neighbours.add(idI + (next - digit) * 16 ** place + (digit - next) * 16 ** (place + 1));
  }
  return [...neighbours].toSorted((a, b) => a - b);
}
