/** The sentence for the cause of a diagnosis: the event, the node or component, and the time. */

import { expiryOf, formatId, REFUSALS } from '@latchkey/protocol';
import type { LateNodes } from './contract/diagnosis.js';
import { type Finding, holdoffEnd } from './diagnosis-cause.js';
import type { Situation } from './diagnosis-situation.js';
import { isLate } from './node-view.js';
import { renewalDue } from '@latchkey/registry';
import { isoTime } from '@latchkey/runtime/iso-time';
import { orderStatus } from '@latchkey/registry';

/** @param count late nodes, if the sentence contains their number */
export function sentenceOf(finding: Finding, situation: Situation, count: LateNodes | null): string {
  const { id, node, now, controller, surroundings, asked, refused } = situation;
  const idC = controller?.id ?? 'unknown';
  switch (finding.cause) {
    case 'unknown':
      return unknown(situation);
    case 'disabled': {
      const { disabled } = situation;
      if (disabled === undefined) return `Node ${id} is disabled.`;
      return `Node ${id} is disabled since ${disabled.at}${surroundings.visibleOrders === undefined ? `, by ${disabled.actor}` : ''}.`;
    }
    case 'expired':
      return expired(situation);
    case 'outside-join-window':
      return outsideJoinWindow(situation);
    case 'held-off':
      return heldOff(situation);
    case 'server-silent': {
      const { combined, seenAt } = surroundings.server;
      const who = combined ? 'the controller that has the registry inside' : 'the auth-server';
      const since = seenAt === undefined ? 'It never ran.' : `It was last seen at ${isoTime(seenAt)}.`;
      return `${cannot(situation)}: ${who} does not run. ${since} ${lateNodes(situation, count)}`.trimEnd();
    }
    case 'clock-set-back':
      return `${cannot(situation)} before ${isoTime(surroundings.heldUntil?.until ?? now)}: the clock of the auth-server was set back, and it commits no key until then.`;
    case 'controller-key':
      return `${cannot(situation)}: requests of its controller ${idC} do not open since ${isoTime(controller?.sighting.authenticationFailed?.since ?? now)}. It has another SK_cs than the registry. ${lateNodes(situation, count)}`.trimEnd();
    case 'controller-silent':
      return silentController(situation, count);
    case 'device-has-this-key':
    case 'device-has-initial-key':
    case 'device-has-former-key':
    case 'device-has-other-key':
      return deviceKey(situation);
    case 'wrong-controller':
      return `Controller ${formatId(refused?.by ?? 0)} asked for node ${id}, which is assigned to ${idC}, last at ${isoTime(refused?.at ?? now)}.`;
    case 'proof-failed':
      return `The proof of node ${id} fails since ${isoTime(refused?.since ?? now)}: another device got a new key in its place, or the registry has an older key than the device.`;
    case 'clock': {
      // To a caller with limits only what its own node was refused for.
      const isLimited = surroundings.visibleOrders !== undefined;
      const skew = (isLimited ? refused?.skew : situation.skewOfRefusing) ?? 0;
      const off = `${Math.round(Math.abs(skew) / 1000)} s ${skew < 0 ? 'behind' : 'ahead of'}`;
      const since = isoTime((isLimited ? refused : situation.refusing?.sighting.clockSkew)?.since ?? now);
      return `The clock of controller ${formatId(refused?.by ?? 0)} is ${off} the clock of the auth-server, since ${since}. Node ${id} was refused for that, last at ${isoTime(refused?.at ?? now)}.`;
    }
    case 'store':
      if (refused?.refusal !== 'storeFailed')
        return `${cannot(situation)}: the auth-server runs, but has written nothing to the registry since ${isoTime(surroundings.server.seenAt ?? now)}.`;
      return `The auth-server could not store the key of node ${id}, last at ${isoTime(refused.at)}.`;
    case 'restored': {
      const { at = now, backupAt = now } = situation.registryRestored ?? {};
      return `Node ${id} asked ${times(asked)} and proved nothing. The registry was restored at ${isoTime(at)} from a backup of ${isoTime(backupAt)}: the node seems to hold a newer key.`;
    }
    case 'joining':
      return `Node ${id} began to join at ${isoTime(asked?.since ?? now)}, and has not proved its key yet.`;
    case 'proof-missing':
      return proofMissing(situation);
    case 'was-refused':
      return `The last request for node ${id} was refused at ${isoTime(refused?.at ?? now)}: it ${REFUSALS[refused?.refusal ?? 'overloaded'].meaning}. That is over.`;
    case 'never-asked':
      return `No controller ever asked for node ${id}. ${heard(situation)} ${lateNodes(situation, count)}`.trimEnd();
    case 'device-silent':
      return `Node ${id} asked last at ${isoTime(refused?.at ?? now)}, and was refused: the request ${REFUSALS[refused?.refusal ?? 'overloaded'].meaning}. That is over, and it has not asked since. ${heard(situation)} ${lateNodes(situation, count)}`.trimEnd();
    case 'expiring':
      return `${expiring(situation)} ${heard(situation)} ${lateNodes(situation, count)}`.trimEnd();
    case 'joined': {
      const expiry = node && expiryOf(node);
      const until = expiry === undefined ? 'it does not expire' : `it expires at ${isoTime(expiry)}`;
      const but = finding.obstacle === undefined ? '' : ` ${sentenceOf(finding.obstacle, situation, count)}`;
      return `Node ${id} joined at ${timeOf(node?.joinedAt)}, and has the key of now since ${timeOf(node?.committedAt)}; ${until}.${but}`;
    }
  }
}

function timeOf(at: number | undefined): string {
  return at === undefined ? 'an unknown time' : isoTime(at);
}

function unknown({ id, refused, removed }: Situation): string {
  const gone = removed === undefined ? '' : `: ${removed.actor} removed it at ${removed.at}`;
  const asked =
    refused === undefined
      ? 'No controller asked for it.'
      : `Controller ${formatId(refused.by)} asked for it, last at ${isoTime(refused.at)}.`;
  return `Node ${id} is not in the registry${gone}. ${asked}`;
}

function expired({ id, node, refused, now }: Situation): string {
  const expiry = (node && expiryOf(node)) ?? now;
  const graceEnd = isoTime(expiry + 1000 * (node?.grace ?? 0));
  const since =
    refused?.refusal === 'expired'
      ? `It was refused for that since ${isoTime(refused.since)}, last at ${isoTime(refused.at)}.`
      : 'It has not asked since.';
  return `The key of node ${id} expired at ${isoTime(expiry)}, and its grace ended at ${graceEnd}. ${since}`;
}

function outsideJoinWindow({ id, order, now }: Situation): string {
  if (order === undefined) return '';
  const { number, joinFrom = now, joinUntil = now } = order;
  switch (orderStatus(order, now)) {
    case 'closed':
      return `Order ${number} of node ${id} is closed for good.`;
    case 'scheduled':
      return `Order ${number} of node ${id} opens at ${isoTime(joinFrom)}.`;
    case 'ended':
      return `The join window of order ${number} of node ${id} ended at ${isoTime(joinUntil)}.`;
    default:
      return `Order ${number} of node ${id} is suspended.`;
  }
}

function heldOff(situation: Situation): string {
  const { id, node, refused, now, registryRestored } = situation;
  const reissuedAt = node?.reissuedAt ?? now;
  const end = holdoffEnd(situation) ?? now;
  const given =
    registryRestored?.at === reissuedAt
      ? `The registry was restored at ${isoTime(reissuedAt)}`
      : `Node ${id} was given an initial key at ${isoTime(reissuedAt)} that it had had before`;
  return now <= end
    ? `${given}. Node ${id} gets no key before ${isoTime(end)}.`
    : `${given}. A request for node ${id} that may be from before was refused, last at ${isoTime(refused?.at ?? now)}.`;
}

/** A controller that was never heard may run: not every implementation asks for keys by itself. */
function silentController(situation: Situation, count: LateNodes | null): string {
  const { controller, id, surroundings } = situation;
  const heardAt = controller?.sighting.lastSeen?.at;
  if (heardAt === undefined)
    return `No controller ever asked for node ${id}. ${heard(situation)} ${lateNodes(situation, count)}`.trimEnd();
  if (surroundings.visibleOrders !== undefined)
    return `${cannot(situation)}: other nodes should have renewed theirs through its controller ${controller?.id ?? ''}, too, and none that you see did.`;
  return `${cannot(situation)}: its controller ${controller?.id ?? ''} is silent since ${isoTime(heardAt)}. ${lateNodes(situation, count)}`.trimEnd();
}

function cannot({ id, node }: Situation): string {
  return `Node ${id} cannot ${node?.initial === true ? 'join' : 'renew its key'}`;
}

function deviceKey({ id, key, node, deviceKey, controller, registryRestored }: Situation): string {
  const held = `[secret ${deviceKey?.fingerprint ?? ''}]`;
  const registry = `the registry has ${key === undefined ? 'another' : `[secret ${key}]`}${node?.initial === true ? ', an initial key' : ''}`;
  switch (deviceKey?.is) {
    case 'current':
      return `The device holds the key that the registry has for node ${id}, ${held}. So answers of controller ${controller?.id ?? ''} do not reach it, or it was installed for another controller.`;
    case 'initial':
      return `The device holds the initial key ${held}, and node ${id} got another ${deviceKey.until === null ? 'since' : `at ${deviceKey.until}`}: the device was installed again, or another one got that key.`;
    case 'former':
      return `The device holds the key ${held}, which node ${id} had until ${deviceKey.until ?? 'some time ago'}; ${registry}. The state of the device was copied or put back, or the node was reset.`;
    default:
      return registryRestored === undefined
        ? `The device holds the key ${held}, which the registry never had for node ${id}; ${registry}. It was installed from another manifest, or this registry is an older one.`
        : `The device holds the key ${held}, which this registry does not know for node ${id}; ${registry}. The registry was restored at ${isoTime(registryRestored.at)} from a backup of ${isoTime(registryRestored.backupAt)}.`;
  }
}

function proofMissing({ id, node, key, asked, now }: Situation): string {
  const given = `Controller ${formatId(asked?.by ?? 0)} was given the key of node ${id} ${times(asked)}, last at ${isoTime(asked?.at ?? now)}, and the node proved nothing.`;
  const known = key === undefined ? 'that of the registry' : `[secret ${key}]`;
  const has =
    node?.initial === true
      ? `another initial key than ${known}`
      : `another key than ${known}, which the node got at ${isoTime(node?.committedAt ?? now)}`;
  return `${given} The device holds ${has}, or does not hear the answers, or somebody else asked in its name.`;
}

function expiring({ id, node, now }: Situation): string {
  const expiry = (node && expiryOf(node)) ?? now;
  const due = isoTime(node === undefined ? now : renewalDue(node));
  return now > expiry
    ? `The key of node ${id} expired at ${isoTime(expiry)} and was not renewed; until ${isoTime(expiry + 1000 * (node?.grace ?? 0))} it still can be.`
    : `The key of node ${id} expires at ${isoTime(expiry)}, and the node should have renewed it before ${due}.`;
}

/**
 * The time of the last request depends on nodes of other orders, so a caller with limits does not
 * see it.
 */
function heard({ controller, surroundings }: Situation): string {
  const at = controller?.sighting.lastSeen?.at;
  if (at !== undefined && surroundings.visibleOrders !== undefined) return `Its controller ${controller?.id ?? ''} was heard.`;
  return at === undefined
    ? `Its controller ${controller?.id ?? ''} was never heard. A controller that runs asks for the keys of its nodes at its start.`
    : `Its controller ${controller?.id ?? ''} was heard last at ${isoTime(at)}.`;
}

/**
 * Describes the late nodes. If this node is the only one, the operator should check the device,
 * otherwise the daemon.
 */
function lateNodes(situation: Situation, count: LateNodes | null): string {
  if (count === null) return '';
  const { joined, late, of } = count;
  const whose = of === 'registry' ? 'the registry' : 'that controller';
  if (joined === 0) return `No node of ${whose} has joined.`;
  const itself = situation.node !== undefined && isLate(situation.node, situation.now);
  if (joined === 1 && itself) return `No other node of ${whose} has joined.`;
  if (late === 0) return `None of the ${joined} joined nodes of ${whose} is late.`;
  if (late === 1 && itself) return `It is the only one of the ${joined} joined nodes of ${whose} that is late.`;
  return `${late} of the ${joined} joined nodes of ${whose} should have renewed by now.`;
}

function times(run: { readonly count: number; readonly since: number } | undefined): string {
  const { count = 0, since = 0 } = run ?? {};
  return `${count} time${count === 1 ? '' : 's'} since ${isoTime(since)}`;
}
