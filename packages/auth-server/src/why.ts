/** Why a node has not joined, or fails: one sentence and the next step, from what the server saw. */

import { expiryOf, formatId, MAX_REISSUE_AHEAD_MS, REFUSALS, REISSUE_HOLDOFF_MS, TS_WINDOW } from '@latchkey/protocol';
import { isoTime } from './iso-time.js';
import type { Registry } from './registry.js';
import type { NodeFacts } from './rows.js';
import type { ControllerSightingRow, NodeSightingRow, Refused } from './sightings.js';

/** A stable word for scripts, a sentence for people, and what to do. */
export interface Why {
  readonly cause:
    | 'joined'
    | 'joining'
    | 'unknown'
    | 'disabled'
    | 'window-shut'
    | 'held-off'
    | 'wrong-controller'
    | 'proof-failed'
    | 'proof-missing'
    | 'clock'
    | 'expired'
    | 'expiring'
    | 'store'
    | 'controller-silent'
    | 'controller-key'
    | 'never-asked'
    | 'was-refused'
    | 'restored';
  readonly sentence: string;
  readonly next: string;
}

/** A node that was asked for has this long to prove itself before that looks odd, in ms: the life of a transaction. */
const PATIENCE_MS = 60_000;

export function why(registry: Registry, idI: number, now: number): Why {
  const node = registry.node(idI);
  node?.key.wipe();
  const sighting = registry.sightingOf(idI);
  if (node === undefined) return whyUnknown(idI, sighting);
  const seen = unsettled(sighting, node);
  return (
    whyShut(registry, node, now) ??
    whyHeldOff(registry, node, latestRefusal(seen), now) ??
    whyRefused(node, latestRefusal(seen)) ??
    whyUnproven(registry, node, seen, now) ??
    (node.initial ? (whyRefusedBefore(node, seen?.refused) ?? whyNeverAsked(registry, node)) : whyQuiet(node, now))
  );
}

/** What was seen before the last join is settled by it. */
function unsettled(
  sighting: NodeSightingRow | undefined,
  { committedAt = -Infinity, resetAt = -Infinity }: NodeFacts,
): NodeSightingRow | undefined {
  const since = Math.max(committedAt, resetAt);
  const { asked, refused } = sighting ?? {};
  return {
    asked: asked !== undefined && asked.at > since ? asked : undefined,
    refused: refused !== undefined && refused.at > since ? refused : undefined,
  };
}

/** A refusal that a later answer has settled is none. A proof that fails comes after the key was given out, and is not settled by that. */
function latestRefusal({ asked, refused }: NodeSightingRow = {}): Refused | undefined {
  if (asked === undefined || refused === undefined || refused.refusal === 'proofFailed') return refused;
  return refused.at >= asked.at ? refused : undefined;
}

function whyUnknown(idI: number, sighting: NodeSightingRow | undefined): Why {
  const { refused } = sighting ?? {};
  const asked =
    refused === undefined
      ? 'and no controller asked for it'
      : `but controller ${formatId(refused.by)} asked for it, last at ${isoTime(refused.at)}`;
  return {
    cause: 'unknown',
    sentence: `Node ${formatId(idI)} is not in the registry, ${asked}.`,
    next: 'Compare the ID with the label on the device; order or import the node.',
  };
}

/** What is left to do for a node that is to join, and whose order is closed for good. */
export function anew(id: string): string {
  return `latchkey-auth-server node remove ${id}, then import it with an initial key, or order another.`;
}

/** What the registry itself forbids. */
function whyShut(registry: Registry, node: NodeFacts, now: number): Why | undefined {
  const id = formatId(node.idI);
  if (node.disabled) {
    const entry = [...registry.audit.ofNode(node.entry)].find(({ what }) => what === 'node disabled');
    const since = entry === undefined ? '' : ` since ${entry.at}, by ${entry.who}`;
    return { cause: 'disabled', sentence: `Node ${id} is disabled${since}.`, next: `latchkey-auth-server node enable ${id}` };
  }
  const expiry = expiryOf(node);
  if (expiry !== undefined && now > expiry + 1000 * node.grace) {
    return {
      cause: 'expired',
      sentence: `The key of node ${id} expired at ${isoTime(expiry)}, and its grace ended at ${isoTime(expiry + 1000 * node.grace)}.`,
      next: `Reset the device to its initial key, then: latchkey-auth-server node reset ${id}`,
    };
  }
  if (!node.initial) return undefined;
  const open = `latchkey-auth-server order open ${node.order}`;
  if (node.orderState === 'closed') {
    return {
      cause: 'window-shut',
      sentence: `Order ${node.order} of node ${id} is closed for good.`,
      next: anew(id),
    };
  }
  if (node.orderState === 'shut')
    return { cause: 'window-shut', sentence: `Order ${node.order} of node ${id} is shut.`, next: open };
  if (node.joinFrom !== undefined && now < node.joinFrom) {
    return {
      cause: 'window-shut',
      sentence: `Order ${node.order} of node ${id} opens at ${isoTime(node.joinFrom)}.`,
      next: `Wait, or: ${open}`,
    };
  }
  if (node.joinUntil !== undefined && now > node.joinUntil) {
    return {
      cause: 'window-shut',
      sentence: `The join window of order ${node.order} of node ${id} ended at ${isoTime(node.joinUntil)}.`,
      next: open,
    };
  }
  return undefined;
}

/** It was given an initial key again that its ID had had before, or the registry was restored (protocol, `reissuedAt`). */
function whyHeldOff(registry: Registry, node: NodeFacts, refused: Refused | undefined, now: number): Why | undefined {
  const { idI, reissuedAt, initial } = node;
  if (reissuedAt === undefined || reissuedAt > now + MAX_REISSUE_AHEAD_MS) return undefined;
  const end = reissuedAt + REISSUE_HOLDOFF_MS;
  const id = formatId(idI);
  const given =
    registry.restored?.at === reissuedAt
      ? `The registry was restored at ${isoTime(reissuedAt)}`
      : `Node ${id} was given an initial key at ${isoTime(reissuedAt)} that it had had before`;
  const wasRefused = refused?.refusal === 'overloaded' && refused.at <= end + TS_WINDOW.M7.back;
  if (now <= end && (initial || wasRefused)) {
    return {
      cause: 'held-off',
      sentence: `${given}. Node ${id} gets no key before ${isoTime(end)}.`,
      next: 'Wait until then. A node agent that runs tries again by itself.',
    };
  }
  if (!wasRefused) return undefined;
  return {
    cause: 'held-off',
    sentence: `${given}. A request for node ${id} that may be from before was refused, last at ${isoTime(refused.at)}.`,
    next: 'A node agent that runs tries again by itself. If the node has not joined in ten minutes, look at the device: power, the way to its controller.',
  };
}

function whyRefused(node: NodeFacts, refused: Refused | undefined): Why | undefined {
  const id = formatId(node.idI);
  switch (refused?.refusal) {
    case 'notAssigned':
      if (refused.by === node.controller) return undefined;
      return {
        cause: 'wrong-controller',
        sentence: `Controller ${formatId(refused.by)} asked for node ${id}, which is assigned to ${formatId(node.controller)}, last at ${isoTime(refused.at)}.`,
        next: `Put the device’s controller right, or: latchkey-auth-server node move ${id} --controller ${formatId(refused.by)}`,
      };
    case 'proofFailed':
      return {
        cause: 'proof-failed',
        sentence: `The proof of node ${id} fails since ${isoTime(refused.since)}: its key was taken over by another device, or the registry holds an older one.`,
        next: `If the device was reset to its initial key: latchkey-auth-server node reset ${id}. If not, find out who else holds its key.`,
      };
    case 'clock': {
      const { skew } = refused;
      const by = skew === undefined ? '' : ` by ${Math.round(Math.abs(skew) / 1000)} s, ${skew < 0 ? 'behind' : 'ahead'}`;
      return {
        cause: 'clock',
        sentence: `The clock of controller ${formatId(refused.by)} differs from this server’s${by}, since ${isoTime(refused.since)}.`,
        next: 'Set both clocks by NTP.',
      };
    }
    case 'storeFailed':
    case 'overloaded':
      return {
        cause: 'store',
        sentence: `This server could not commit the key of node ${id}, last at ${isoTime(refused.at)}.`,
        next: 'Look at its log: the disk, or the clock that was set back. The node tries again by itself.',
      };
    default:
      return undefined;
  }
}

/** Its key was given out, and no proof came. */
function whyUnproven(registry: Registry, node: NodeFacts, seen: NodeSightingRow | undefined, now: number): Why | undefined {
  const { asked } = seen ?? {};
  if (asked === undefined) return undefined;
  const id = formatId(node.idI);
  const times = `${asked.count} time${asked.count === 1 ? '' : 's'} since ${isoTime(asked.since)}`;
  const { restored } = registry;
  if (restored !== undefined && asked.at > restored.at && (node.committedAt ?? -Infinity) < restored.backupAt) {
    return {
      cause: 'restored',
      sentence: `Node ${id} asked ${times} and proved nothing: the registry was restored at ${isoTime(restored.at)} from a backup of ${isoTime(restored.backupAt)}, and the node seems to hold a newer key.`,
      next: `Reset the device to its initial key, then: latchkey-auth-server node reset ${id}`,
    };
  }
  if (now - asked.since < PATIENCE_MS) {
    return {
      cause: 'joining',
      sentence: `Node ${id} began at ${isoTime(asked.since)} and has not proven itself yet.`,
      next: 'Ask again in a minute.',
    };
  }
  return {
    cause: 'proof-missing',
    sentence: `Controller ${formatId(asked.by)} was given the key of node ${id} ${times}, and the node proved nothing: it holds another key, does not hear the answers, or somebody else asked in its name.`,
    next: node.initial
      ? 'Compare the initial key in the device with the manifest; look at the way back from controller to node.'
      : `If the device was reset to its initial key: latchkey-auth-server node reset ${id}. Look at the way back from controller to node.`,
  };
}

/** It was refused for something that is over. */
function whyRefusedBefore(node: NodeFacts, refused: Refused | undefined): Why | undefined {
  if (refused === undefined) return undefined;
  return {
    cause: 'was-refused',
    sentence: `The last request for node ${formatId(node.idI)} was refused at ${isoTime(refused.at)}: it ${REFUSALS[refused.refusal].meaning}. That is over.`,
    next: 'Wait: it tries again by itself, within 10 minutes.',
  };
}

function whyNeverAsked(registry: Registry, node: NodeFacts): Why {
  const [id, idC] = [formatId(node.idI), formatId(node.controller)];
  const controller: ControllerSightingRow = registry.sightingOfController(node.controller) ?? {};
  const { heard, unopened } = controller;
  if (unopened !== undefined && unopened.at > (heard?.at ?? -Infinity)) {
    return {
      cause: 'controller-key',
      sentence: `Requests of controller ${idC} do not open since ${isoTime(unopened.since)}: it has another SK_cs than the registry.`,
      next: `Give it the credential made for it, or: latchkey-auth-server controller rotate ${idC}`,
    };
  }
  if (heard === undefined) {
    return {
      cause: 'controller-silent',
      sentence: `Nobody ever asked for node ${id}, and its controller ${idC} was never heard: a controller sends nothing before a node asks it.`,
      next: 'Look at the device first: power, ID, the controller’s address, the way to it. Then at the controller: does it run, and what does its log say of the auth-server’s address, of firewalls for UDP?',
    };
  }
  return {
    cause: 'never-asked',
    sentence: `No controller ever asked for node ${id}; its controller ${idC} was heard last at ${isoTime(heard.at)}.`,
    next: 'Look at the device: power, ID, the controller’s address, the way to it.',
  };
}

/** It has joined, and nothing was refused since. */
function whyQuiet(node: NodeFacts, now: number): Why {
  const { committed, committedAt, joinedAt } = node;
  const id = formatId(node.idI);
  const joined = `Node ${id} joined at ${timeText(joinedAt)}, and has the key of now since ${timeText(committedAt)}`;
  if (committed === undefined || committed.lifetime === 0)
    return { cause: 'joined', sentence: `${joined}; it does not expire.`, next: 'Nothing.' };
  const expiry = committed.ts + 1000 * committed.lifetime;
  if (now > expiry) {
    return {
      cause: 'expiring',
      sentence: `The key of node ${id} expired at ${isoTime(expiry)} and was not renewed; until ${isoTime(expiry + 1000 * node.grace)} it still can be.`,
      next: 'Look at the device: power, the way to its controller.',
    };
  }
  if (now > renewalDue(committed)) {
    return {
      cause: 'expiring',
      sentence: `The key of node ${id} expires at ${isoTime(expiry)}, and the node should have renewed it by now.`,
      next: 'Look at the device: power, the way to its controller.',
    };
  }
  return { cause: 'joined', sentence: `${joined}; it expires at ${isoTime(expiry)}.`, next: 'Nothing.' };
}

function timeText(at: number | undefined): string {
  return at === undefined ? 'an unknown time' : isoTime(at);
}

/** Nodes renew at 72 to 88 % of the lifetime (profile, "Node", 6); ms since the epoch. */
export function renewalDue({ ts, lifetime }: { readonly ts: number; readonly lifetime: number }): number {
  return ts + 880 * lifetime;
}
