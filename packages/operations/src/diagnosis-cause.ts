/**
 * Diagnoses why a node has not joined, or does not renew, and the action against it. Causes are
 * checked from the outside in. First come restrictions in the registry, then faults that affect
 * every node, then faults of the controller. The server's answers to this node follow, and last the
 * device.
 */

import { expiryOf, formatId, MAX_REISSUE_AHEAD_MS, REISSUE_HOLDOFF_MS, TS_WINDOW } from '@latchkey/protocol';
import type { Action, Cause, LateNodes } from './contract/diagnosis.js';
import type { Situation } from './diagnosis-situation.js';
import { isLate } from './node-view.js';
import { renewalDue } from '@latchkey/registry';
import { isoTime } from '@latchkey/runtime/iso-time';
import { orderStatus } from '@latchkey/registry';

export interface Finding {
  readonly cause: Cause;
  readonly action: Action;
  readonly instead?: Action;
  /**
   * What keeps all nodes of the controller, or of the registry, from renewing, though this one need
   * not yet.
   */
  readonly obstacle?: Finding;
}

/**
 * Causes whose sentence says how many nodes of the controller are late: a silent device, or a
 * silent controller?
 */
const SAYS_COUNT: ReadonlySet<Cause> = new Set([
  'controller-silent',
  'controller-key',
  'expiring',
  'never-asked',
  'device-silent',
]);

/** A node that was asked for has this long to prove itself, in ms: the life of a transaction. */
const TRANSACTION_MS = 60_000;
/**
 * Nodes retry after 10 minutes at the latest, and the timer of `join --if-due` runs every 15. An
 * older attempt is not in progress any more, in ms.
 */
const RECENT_MS = 1_200_000;
/**
 * A controller whose late nodes try again every 10 minutes is heard more often than this, in ms.
 */
const SILENCE_MS = 660_000;
/**
 * A server stores its clock's time every half minute. After this time without a write, in ms, its
 * disk is considered faulty.
 */
const UNWRITTEN_MS = 120_000;
const DAY_S = 86_400;
const HOUR_S = 3_600;

export async function findCause(situation: Situation): Promise<Finding> {
  const { node, id } = situation;
  if (node === undefined)
    return {
      cause: 'unknown',
      action: { kind: 'import-node', node: id, joined_before: situation.removed?.joinedBefore ?? null },
    };
  const forbidden = findForbidden(situation);
  if (forbidden !== undefined) return forbidden;
  const obstacle = findObstacle(situation);
  const expired = findExpired(situation);
  // Without its daemons no node asks, whatever its grace is.
  if (expired !== undefined) return obstacle ?? (await findSilentController(situation)) ?? expired;
  const waits = node.initial || isLate(node, situation.now);
  if (!waits && !hasFailed(situation)) return well(obstacle);
  return (
    obstacle ??
    findHeldOff(situation) ??
    findRefusal(situation) ??
    findDeviceKey(situation) ??
    findFailedProof(situation) ??
    findUnproven(situation) ??
    (waits ? await findSilentController(situation) : undefined) ??
    findRefusedBefore(situation) ??
    (waits ? findSilentDevice(situation) : well(undefined))
  );
}

/**
 * Whether something went wrong for a node since it last proved itself, though it need not renew
 * yet.
 */
function hasFailed({ asked, refused, deviceKey }: Situation): boolean {
  return asked !== undefined || refused !== undefined || (deviceKey !== undefined && deviceKey.is !== 'current');
}

function well(obstacle: Finding | undefined): Finding {
  return obstacle === undefined ? { cause: 'joined', action: { kind: 'none' } } : { ...obstacle, cause: 'joined', obstacle };
}

/** What the registry itself forbids. */
function findForbidden(situation: Situation): Finding | undefined {
  const { node, id } = situation;
  if (node?.disabled === true) return { cause: 'disabled', action: { kind: 'enable-node', node: id } };
  return node?.initial === true ? findOrderObstacle(situation) : undefined;
}

/** Its grace is over: with more of it, the key that it has renews itself. */
function findExpired({ node, id, now, refused }: Situation): Finding | undefined {
  const expiry = node && expiryOf(node);
  if (node === undefined || expiry === undefined || now <= expiry + 1000 * node.grace) return undefined;
  const grace_seconds = DAY_S * Math.ceil(((now - expiry) / 1000 + HOUR_S) / DAY_S);
  const asked_at = refused !== undefined && now - refused.at < RECENT_MS ? isoTime(refused.at) : null;
  return { cause: 'expired', action: { kind: 'extend-grace', node: id, grace_seconds, asked_at } };
}

function findOrderObstacle({ node, id, order, now }: Situation): Finding | undefined {
  if (node === undefined || order === undefined) return undefined;
  const open: Action = { kind: 'open-order', order: order.number, join_until: null };
  switch (orderStatus(order, now)) {
    case 'closed':
      return {
        cause: 'outside-join-window',
        action: { kind: 'enrol-again', node: id, installer: order.installer, lifetime_seconds: node.lifetime },
      };
    case 'scheduled': {
      const { joinFrom, joinUntil } = order;
      return {
        cause: 'outside-join-window',
        action: { kind: 'wait', until: joinFrom === undefined ? null : isoTime(joinFrom) },
        instead: { ...open, join_until: joinUntil === undefined ? null : isoTime(joinUntil) },
      };
    }
    case 'ended':
      return { cause: 'outside-join-window', action: open };
    case 'suspended':
      return { cause: 'outside-join-window', action: { kind: 'resume-order', order: order.number } };
    default:
      return undefined;
  }
}

/** What keeps out every node, or every node of this one's controller. */
function findObstacle(situation: Situation): Finding | undefined {
  const { surroundings, now, controller } = situation;
  const { server, heldUntil } = surroundings;
  if (!server.runs) return { cause: 'server-silent', action: { kind: 'start-server', combined: server.combined } };
  if (now - (server.seenAt ?? now) > UNWRITTEN_MS) return { cause: 'store', action: { kind: 'check-disk' } };
  if (heldUntil !== undefined && heldUntil.until > now) {
    const wait: Action = { kind: 'wait', until: isoTime(heldUntil.until) };
    return { cause: 'clock-set-back', action: wait, ...(heldUntil.mayRelease ? { instead: { kind: 'release-clock' } } : {}) };
  }
  const { authenticationFailed, lastSeen } = controller?.sighting ?? {};
  if (controller === undefined || authenticationFailed === undefined || authenticationFailed.at <= (lastSeen?.at ?? -Infinity))
    return undefined;
  // A device that asks through another controller has its own cause.
  const { refused } = situation;
  if (refused?.refusal === 'notAssigned' && refused.at > authenticationFailed.at) return undefined;
  return { cause: 'controller-key', action: { kind: 'rotate-controller', controller: controller.id } };
}

/** What the administrator says that the device holds, if the registry holds another key. */
function findDeviceKey({ deviceKey, id }: Situation): Finding | undefined {
  switch (deviceKey?.is) {
    case 'initial':
      return {
        cause: 'device-has-initial-key',
        action: { kind: 'reset-node', node: id, initial_key: 'same' },
        instead: { kind: 'reset-node', node: id, initial_key: 'new' },
      };
    case 'former':
      return { cause: 'device-has-former-key', action: { kind: 'reset-node', node: id, initial_key: 'new' } };
    case 'other':
      return { cause: 'device-has-other-key', action: { kind: 'reset-node', node: id, initial_key: 'new' } };
    default:
      return undefined;
  }
}

/**
 * When the hold-off of a node ends, ms since the epoch: it was given an initial key that its ID had
 * had, or the registry was restored.
 */
export function holdoffEnd({ node, now }: Situation): number | undefined {
  const { reissuedAt } = node ?? {};
  return reissuedAt === undefined || reissuedAt > now + MAX_REISSUE_AHEAD_MS ? undefined : reissuedAt + REISSUE_HOLDOFF_MS;
}

/** No M7 of the node that may be from before is committed (protocol, `reissuedAt`). */
function findHeldOff(situation: Situation): Finding | undefined {
  const { node, refused, asked, controller, id, now } = situation;
  const end = holdoffEnd(situation);
  if (node === undefined || end === undefined) return undefined;
  const isLatest = refused !== undefined && refused.at >= (asked?.at ?? -Infinity);
  const wasRefused = isLatest && refused.refusal === 'overloaded' && refused.at <= end + TS_WINDOW.M7.back;
  if (now <= end)
    return node.initial || wasRefused ? { cause: 'held-off', action: { kind: 'wait', until: isoTime(end) } } : undefined;
  if (!wasRefused) return undefined;
  const instead: Action = { kind: 'check-device', node: id, ...placeOf(controller) };
  return { cause: 'held-off', action: { kind: 'wait', until: null }, instead };
}

/** A refusal that still holds. One that is over by now leaves nothing to do but to wait. */
function findRefusal(situation: Situation): Finding | undefined {
  const { refused, node, id, surroundings } = situation;
  switch (refused?.refusal) {
    case 'notAssigned': {
      const { refusing, controller } = situation;
      if (node === undefined || refused.by === node.controller || refusing === undefined) return undefined;
      return {
        cause: 'wrong-controller',
        action: { kind: 'move-node', node: id, ...placeOf(refusing) },
        instead: { kind: 'move-device', node: id, ...placeOf(controller) },
      };
    }
    case 'clock':
      return situation.skewOfRefusing === undefined
        ? undefined
        : { cause: 'clock', action: { kind: 'set-clocks', controller: formatId(refused.by) } };
    case 'storeFailed':
      // The server stores its clock's time every half minute. A time after the rejection shows that
      // the disk accepts writes again.
      return (surroundings.server.seenAt ?? -Infinity) > refused.at
        ? undefined
        : { cause: 'store', action: { kind: 'check-disk' } };
    default:
      return undefined;
  }
}

function findFailedProof({ refused, id }: Situation): Finding | undefined {
  if (refused?.refusal !== 'proofFailed') return undefined;
  return { cause: 'proof-failed', action: { kind: 'reset-node', node: id, initial_key: 'new' } };
}

/** Its key was given out, and no proof came; nor a refusal after that. */
function findUnproven(situation: Situation): Finding | undefined {
  const { asked, refused, node, id, now, registryRestored: restored } = situation;
  if (asked === undefined || node === undefined || (refused !== undefined && refused.at >= asked.at)) return undefined;
  const reset: Action = { kind: 'reset-node', node: id, initial_key: 'new' };
  const isRestored = restored !== undefined && situation.deviceKey?.is !== 'current';
  if (isRestored && asked.at > restored.at && (node.committedAt ?? -Infinity) < restored.backupAt)
    return { cause: 'restored', action: reset };
  if (now - asked.since < TRANSACTION_MS) return { cause: 'joining', action: { kind: 'ask-again', node: id } };
  if (situation.deviceKey?.is === 'current')
    return { cause: 'device-has-this-key', action: { kind: 'check-way-back', node: id, ...placeOf(situation.controller) } };
  return node.initial
    ? { cause: 'proof-missing', action: { kind: 'reinstall-device', node: id }, instead: reset }
    : { cause: 'proof-missing', action: reset, instead: { ...reset, initial_key: 'same' } };
}

function wasHeardLately({ sighting }: NonNullable<Situation['controller']>, now: number): boolean {
  return now - (sighting.lastSeen?.at ?? -Infinity) < SILENCE_MS;
}

/** Other nodes of the controller should have renewed since it was last heard. */
async function findSilentController(situation: Situation): Promise<Finding | undefined> {
  const { node, controller, now, surroundings } = situation;
  if (node === undefined || controller === undefined) return undefined;
  // Most diagnoses need no count.
  if (surroundings.visibleOrders === undefined && wasHeardLately(controller, now)) return undefined;
  const { missed, heardAt } = (await surroundings.punctuality()).of(node.controller);
  if (now - heardAt < SILENCE_MS) return undefined;
  const itself = isLate(node, now) && renewalDue(node) > heardAt ? 1 : 0;
  if (missed <= itself) return undefined;
  return { cause: 'controller-silent', action: checkController(controller) };
}

/** The last thing that was said to it is over. */
function findRefusedBefore({ refused, now }: Situation): Finding | undefined {
  if (refused === undefined || now - refused.at > RECENT_MS) return undefined;
  return { cause: 'was-refused', action: { kind: 'wait', until: null } };
}

/** Nothing was seen of it lately. */
function findSilentDevice(situation: Situation): Finding {
  const { node, refused, controller, id, now, surroundings } = situation;
  const check: Action = { kind: 'check-device', node: id, ...placeOf(controller) };
  if (node === undefined || controller === undefined) return { cause: 'device-silent', action: check };
  const heardAt = controller.sighting.lastSeen?.at;
  // If the controller sent nothing else either, the server cannot know whether the node or the
  // controller is silent. A caller with limits must not see requests for nodes of other orders.
  const isHeard = surroundings.visibleOrders === undefined && wasHeardLately(controller, now);
  const instead = isHeard ? {} : { instead: checkController(controller) };
  if (!node.initial) return { cause: 'expiring', action: check, ...instead };
  if (refused !== undefined) return { cause: 'device-silent', action: check, ...instead };
  return { cause: heardAt === undefined ? 'controller-silent' : 'never-asked', action: check, ...instead };
}

function checkController({ id, address, servers }: NonNullable<Situation['controller']>): Action {
  return { kind: 'check-controller', controller: id, address, servers };
}

function placeOf(controller: Situation['controller']): { readonly controller: string; readonly address: string } {
  return { controller: controller?.id ?? '', address: controller?.address ?? '' };
}

/** What the sentence says of other nodes. */
export async function countOf({ cause, obstacle }: Finding, { node, surroundings }: Situation): Promise<LateNodes | null> {
  const silent = obstacle?.cause ?? cause;
  if (node === undefined || surroundings.visibleOrders !== undefined) return null;
  const of = silent === 'server-silent' ? 'registry' : SAYS_COUNT.has(silent) ? 'controller' : undefined;
  if (of === undefined) return null;
  const punctuality = await surroundings.punctuality();
  const { joined, late } = of === 'registry' ? punctuality.all : punctuality.of(node.controller);
  return { of, joined, late };
}
