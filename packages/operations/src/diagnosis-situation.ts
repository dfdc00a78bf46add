/**
 * The situation of a node that has not joined: collected from the registry here, and judged in
 * `diagnosis-cause.ts`.
 */

import { type ClockHistory, type Clocks, formatId, rejectedUntil } from '@latchkey/protocol';
import { type Endpoint, formatEndpoint } from '@latchkey/runtime/net';
import { type FolderLockState, nativeLocks } from '@latchkey/runtime/files';
import type { AuditEntry, Registry, Restored, NodeInfo, OrderRecord, ControllerActivity, NodeActivity } from '@latchkey/registry';
import type { DeviceKey } from './contract/diagnosis.js';
import { holdoffUntil } from './clock-release.js';
import { queryNodes } from './node-query.js';
import { isLate } from './node-view.js';
import { renewalDue } from '@latchkey/registry';
import { isVisible, type VisibleOrders } from './visibility.js';

/** Entries of the audit log that are looked through for the removal of a node. */
const MAX_ENTRIES = 20_000;
/** Entries of one node's life that are looked through for a key. */
const MAX_LIFE = 10_000;
/**
 * If a store belongs to one process, an operator has stopped the server to run the diagnosis. The
 * server counts as running for this time, in ms.
 */
const STOPPED_TO_ASK_MS = 300_000;

/** Whether a server serves from the registry. */
interface ServerState {
  readonly runs: boolean;
  /** True if the running server, or the last one that ran, is a controller in combined mode. */
  readonly combined: boolean;
  /**
   * When it last wrote what its clock showed, ms since the epoch: every half minute. `undefined`:
   * no server ever did.
   */
  readonly seenAt: number | undefined;
}

/** Until when no key is committed, since the clock of the server was set back. */
interface HoldOff {
  /** ms since the epoch */
  readonly until: number;
  /** Whether `clock release` ends it. */
  readonly mayRelease: boolean;
}

/** How many nodes have joined, and how many of them should have renewed by now. */
interface Count {
  joined: number;
  late: number;
}

interface ControllerCount extends Count {
  /** How many should have renewed since the controller was heard. */
  missed: number;
  /**
   * ms since the epoch. A caller with limits must not see the activity of other orders. For such a
   * caller it is the time when one of its own nodes last got a key.
   */
  heardAt: number;
}

/** Of all nodes, and of one controller's. */
interface Punctuality {
  readonly all: Readonly<Count>;
  readonly of: (idC: number) => Readonly<ControllerCount>;
}

/** What is the same for every node that is asked about. */
export interface Surroundings {
  /** ms since the epoch */
  readonly now: number;
  readonly server: ServerState;
  readonly heldUntil: HoldOff | undefined;
  /** Counts nodes: a walk through the registry, the first time. */
  readonly punctuality: () => Promise<Punctuality>;
  /** Fingerprint of the key in the device, 4 hex digits. With `visibleOrders` it says nothing. */
  readonly deviceKey?: string | undefined;
  /**
   * Limits of the caller. To it a node of another order does not exist. It sees neither
   * fingerprints nor the number of nodes of other orders.
   */
  readonly visibleOrders?: VisibleOrders;
}

/** A controller in question. */
interface ControllerInQuestion {
  readonly id: string;
  /** Its address for nodes. */
  readonly address: string;
  readonly servers: readonly string[];
  readonly sighting: ControllerActivity;
}

export interface Situation {
  readonly id: string;
  readonly now: number;
  readonly node: NodeInfo | undefined;
  /** Fingerprint of K_i. */
  readonly key: string | undefined;
  readonly order: OrderRecord | undefined;
  /** What was seen since the node last proved itself, or was reset. */
  readonly asked: NodeActivity['keyRequested'];
  readonly refused: NodeActivity['rejected'];
  readonly controller: ControllerInQuestion | undefined;
  /** The controller whose request was refused, and by how many ms its clock is off still. */
  readonly refusing: ControllerInQuestion | undefined;
  readonly skewOfRefusing: number | undefined;
  readonly disabled: AuditEntry | undefined;
  readonly removed: (Pick<AuditEntry, 'at' | 'actor'> & { readonly joinedBefore: boolean }) | undefined;
  readonly registryRestored: Restored | undefined;
  readonly deviceKey: DeviceKey | undefined;
  readonly surroundings: Surroundings;
}

/**
 * Returns the situation of each node, in the order of `ids`, with one read for all. Call with a few
 * nodes at a time, because nothing else runs during the read.
 */
export async function* situationsOf(
  registry: Registry,
  ids: readonly number[],
  surroundings: Surroundings,
): AsyncGenerator<Situation> {
  const knowsAll = surroundings.visibleOrders === undefined;
  const seen = await nodesSeen(registry, ids, surroundings);
  const named = seen.flatMap(({ node, rejected }) => [node?.controller, rejected?.by]).filter((idC) => idC !== undefined);
  const controllers = await controllersInQuestion(registry, named);
  const controllerOf = (idC: number | undefined): ControllerInQuestion | undefined =>
    idC === undefined ? undefined : controllers.get(idC);
  for (const { idI, node, fingerprint, order, keyRequested, rejected } of seen) {
    const refusing = controllerOf(rejected?.by);
    yield {
      id: formatId(idI),
      now: surroundings.now,
      node,
      key: knowsAll ? fingerprint : undefined,
      order: node && order,
      asked: keyRequested,
      refused: rejected,
      controller: controllerOf(node?.controller),
      refusing,
      skewOfRefusing: refusing?.sighting.clockSkew?.skew,
      disabled: node?.disabled === true ? await findEntry(registry, node, 'node disabled') : undefined,
      removed: node === undefined && knowsAll ? await removalOf(registry, idI) : undefined,
      registryRestored: registry.restored,
      deviceKey:
        node === undefined || !knowsAll || surroundings.deviceKey === undefined
          ? undefined
          : await deviceKeyOf(registry, node, fingerprint, surroundings.deviceKey),
      surroundings,
    };
  }
}

interface NodeSeen extends NodeActivity {
  readonly idI: number;
  /** `undefined` also if the caller does not see it. */
  readonly node: NodeInfo | undefined;
  /** Of K_i. */
  readonly fingerprint: string | undefined;
  readonly order: OrderRecord | undefined;
}

async function nodesSeen(
  registry: Registry,
  ids: readonly number[],
  { visibleOrders }: Surroundings,
): Promise<readonly NodeSeen[]> {
  // Read in one snapshot, because a join deletes earlier activity.
  const found = await registry.nodesInDetail(ids);
  return ids.map((idI, i) => {
    const { node, order, activity } = found[i] ?? {};
    const fingerprint = node?.key.fingerprint;
    node?.key.wipe();
    const visible = node !== undefined && isVisible(visibleOrders, node.order) ? node : undefined;
    const mayKnow = visible !== undefined || visibleOrders === undefined;
    return { idI, node: visible, fingerprint, order, ...unsettled(mayKnow ? activity : undefined, visible) };
  });
}

/** A sighting before the node's last join, or before it was reset, is settled by that. */
function unsettled(sighting: NodeActivity = {}, { committedAt, resetAt }: Partial<NodeInfo> = {}): NodeActivity {
  const since = Math.max(committedAt ?? -Infinity, resetAt ?? -Infinity);
  const { keyRequested, rejected } = sighting;
  return {
    keyRequested: keyRequested !== undefined && keyRequested.at > since ? keyRequested : undefined,
    rejected: rejected !== undefined && rejected.at > since ? rejected : undefined,
  };
}

/** Those that are there. */
function controllersInQuestion(registry: Registry, ids: readonly number[]): Promise<ReadonlyMap<number, ControllerInQuestion>> {
  const wanted = [...new Set(ids)];
  return registry.read({ controllers: wanted, controllerActivity: wanted }, (found) => {
    const controllers = new Map<number, ControllerInQuestion>();
    for (const idC of wanted) {
      const row = found.controller(idC)?.row;
      if (row === undefined) continue;
      controllers.set(idC, {
        id: formatId(idC),
        address: formatEndpoint(row.nid),
        servers: row.servers.map((server: Endpoint) => formatEndpoint(server)),
        sighting: found.controllerActivity(idC) ?? {},
      });
    }
    return controllers;
  });
}

async function findEntry(registry: Registry, node: NodeInfo, what: AuditEntry['what']): Promise<AuditEntry | undefined> {
  return (await lifeOf(registry, node.entry)).find((entry) => entry.what === what);
}

/** A node's entries in the audit log, latest first. */
function lifeOf(registry: Registry, last: number | undefined): Promise<AuditEntry[]> {
  return registry.audit.entriesOfNode(last === 0 ? undefined : last, MAX_LIFE);
}

/** Returns when and by whom the node was removed from the registry, if that was recently. */
async function removalOf(registry: Registry, idI: number): Promise<Situation['removed']> {
  const id = formatId(idI);
  let looked = 0;
  for await (const page of registry.audit.newestFirst())
    for (const entry of page) {
      if (entry.node === id && entry.what === 'node removed') {
        const life = await lifeOf(registry, entry.previous_entry);
        return { at: entry.at, actor: entry.actor, joinedBefore: life.some(({ what }) => what === 'node joined') };
      }
      looked += 1;
      if (looked >= MAX_ENTRIES) return undefined;
    }
  return undefined;
}

async function deviceKeyOf(registry: Registry, node: NodeInfo, key: string | undefined, fingerprint: string): Promise<DeviceKey> {
  const [since, until] = [null, null];
  if (fingerprint === key) return { fingerprint, is: 'current', since, until };
  const life = await lifeOf(registry, node.entry);
  const replaced = life.find((entry) => entry.key_before === fingerprint);
  if (fingerprint === node.ik.fingerprint) {
    const joined = life.find((entry) => entry.what === 'node joined' && entry.key_before === fingerprint);
    return { fingerprint, is: 'initial', since, until: joined?.at ?? null };
  }
  if (replaced === undefined) return { fingerprint, is: 'other', since, until };
  const got = life.find((entry) => entry.key === fingerprint);
  return { fingerprint, is: 'former', since: got?.at ?? null, until: replaced.at };
}

/**
 * Collects the surroundings for a command, while a server may be running.
 *
 * @param lock of the registry's folder
 * @param clock of the servers
 */
export async function surroundingsOf(
  registry: Registry,
  lock: FolderLockState,
  clock: Clocks,
  { deviceKey, visibleOrders }: Pick<Surroundings, 'deviceKey' | 'visibleOrders'> = {},
): Promise<Surroundings> {
  const { wallMs: now } = clock;
  const history = await registry.readClockHistory();
  const seenAt = history.savedAt?.wallMs;
  let punctuality: Promise<Punctuality> | undefined;
  return {
    now,
    server: {
      runs: (await registry.storage.isServed?.()) ?? isServedHere(lock, now - (seenAt ?? -Infinity)),
      combined: lock.holder?.startsWith('latchkey-controller ') === true,
      seenAt,
    },
    heldUntil: holdOff(history, clock),
    punctuality: () => (punctuality ??= countNodes(registry, now, visibleOrders)),
    deviceKey,
    visibleOrders,
  };
}

/**
 * Returns true if a daemon holds the lock, not a command. If the disk is full, the lock file does
 * not name its holder.
 *
 * @param sinceSeenMs time since a server last stored its clock's time
 */
function isServedHere({ locked, holder }: FolderLockState, sinceSeenMs: number): boolean {
  if (locked && (holder === undefined || / run\b/.test(holder))) return true;
  return nativeLocks() === undefined && sinceSeenMs < STOPPED_TO_ASK_MS;
}

function holdOff(history: ClockHistory, clock: Clocks): HoldOff | undefined {
  const [stepped, past] = [holdoffUntil(history, clock), rejectedUntil(history, clock.wallMs)];
  if (stepped === undefined && past === undefined) return undefined;
  return { until: Math.max(stepped ?? 0, past ?? 0), mayRelease: stepped === undefined };
}

async function countNodes(registry: Registry, now: number, visibleOrders: VisibleOrders): Promise<Punctuality> {
  const all: Count = { joined: 0, late: 0 };
  const counts = new Map<number, ControllerCount>();
  /** Due times of late nodes, by controller. A caller with limits gets only its own nodes. */
  const due = new Map<number, number[]>();
  for await (const page of queryNodes(registry, { visibleOrders }, now)) {
    const joined = page.filter(({ initial, disabled }) => !initial && !disabled);
    const unknown = [...new Set(joined.map(({ controller }) => controller))].filter((idC) => !counts.has(idC));
    await registry.read({ controllerActivity: unknown }, (found) => {
      for (const idC of unknown) {
        const lastSeen = visibleOrders === undefined ? found.controllerActivity(idC)?.lastSeen : undefined;
        counts.set(idC, { joined: 0, late: 0, missed: 0, heardAt: lastSeen?.at ?? -Infinity });
        due.set(idC, []);
      }
    });
    for (const node of joined) {
      const count = counts.get(node.controller);
      if (count === undefined) continue;
      const late = isLate(node, now);
      for (const one of [all, count]) {
        one.joined += 1;
        one.late += late ? 1 : 0;
      }
      if (visibleOrders === undefined) count.missed += late && renewalDue(node) > count.heardAt ? 1 : 0;
      else {
        count.heardAt = Math.max(count.heardAt, node.committedAt ?? -Infinity);
        if (late) due.get(node.controller)?.push(renewalDue(node));
      }
    }
  }
  for (const [idC, times] of due) {
    const count = counts.get(idC);
    if (count !== undefined) count.missed += times.filter((time) => time > count.heardAt).length;
  }
  return { all, of: (idC) => counts.get(idC) ?? { joined: 0, late: 0, missed: 0, heardAt: -Infinity } };
}
