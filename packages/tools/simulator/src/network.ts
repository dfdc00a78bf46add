/**
 * The network between nodes, controllers and auth-servers: datagrams are lost, duplicated, delayed,
 * reordered, corrupted, and answered by the wrong host. It simulates CoAP as far as the roles see
 * it: tokens, codes, Max-Age, Echo.
 */

import { type CoapCode, KEY_FEED_TYPE, TYPE } from '@latchkey/protocol';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import type { Simulation } from './simulation.js';

/** `host:port`, as in `n1:40001` and `c1:5683`. */
export type Address = string;

export interface Datagram {
  readonly from: Address;
  readonly to: Address;
  /** `reset`: an RST, which says that nobody wants to hear of that token. */
  readonly kind: 'request' | 'answer' | 'reset';
  /** Of the exchange it belongs to. */
  readonly token: number;
  /** Of an answer. */
  readonly code?: CoapCode | undefined;
  readonly payload: Uint8Array;
  readonly echo?: string | undefined;
  /** Seconds. */
  readonly maxAge?: number | undefined;
}

/**
 * M10 counts as M3, and M11 as M8, in whose place they come: what befalls one befalls the other.
 */
const MESSAGES = ['M1', 'M2', 'M3', 'M4', 'M5', 'M6', 'M7', 'M8', 'M9'] as const;
/** The message in a datagram; `error` is an answer with only a code. */
export type Kind = (typeof MESSAGES)[number] | 'error';
export const KINDS: readonly Kind[] = [...MESSAGES, 'error'];

/** The same, with the messages of the key feed. */
export type AnyKind = Kind | 'M12' | 'M13';

/** How the network is. Probabilities are for each datagram, times in ms. */
export interface NetworkConditions {
  readonly lost: Readonly<Record<Kind, number>>;
  /** Kinds that never arrive for a while. */
  readonly blackout: { readonly kinds: readonly Kind[]; readonly from: number; readonly to: number } | undefined;
  readonly doubled: number;
  readonly corrupted: number;
  readonly misrouted: number;
  /** On its way an M1 becomes that of another node. */
  readonly rewritten: number;
  readonly delayed: { readonly kinds: readonly Kind[]; readonly probability: number; readonly ms: readonly [number, number] };
  /** M12 and M13, which have weather of their own. */
  readonly feed: FeedConditions;
}

export interface FeedConditions {
  readonly lost: number;
  readonly delayed: { readonly probability: number; readonly ms: readonly [number, number] };
  /** None arrives for a while. */
  readonly blackout: { readonly from: number; readonly to: number } | undefined;
}

export function hostOf(address: Address): string {
  return address.slice(0, address.indexOf(':'));
}

export function kindOf({ payload }: Pick<Datagram, 'payload'>): AnyKind {
  const type = payload[0] ?? 0;
  if (type === KEY_FEED_TYPE.M12) return 'M12';
  if (type === KEY_FEED_TYPE.M13) return 'M13';
  if (type === TYPE.M10) return 'M3';
  if (type === TYPE.M11) return 'M8';
  return type >= TYPE.M1 && type <= TYPE.M9 ? (MESSAGES[(type & 0x0f) - 1] ?? 'error') : 'error';
}

/** A copy with one bit changed, bit 0 being the highest of the first octet. */
export function flipBit(octets: Uint8Array, bit: number): Uint8Array {
  return octets.map((octet, i) => (i === bit >> 3 ? octet ^ (0x80 >> (bit & 7)) : octet));
}

type Listener = (datagram: Datagram) => void;

export class SimulatedNetwork {
  readonly #simulation: Simulation;
  readonly #conditions: NetworkConditions;
  readonly #listeners = new Map<Address, Listener>();
  readonly #sent = new Map<string, number>();
  readonly #random: SeededRandom;
  /** True if this world has a blackout; undefined until that is decided. */
  #isBlackoutTriggered: boolean | undefined;
  #isFeedBlackoutTriggered: boolean | undefined;
  /** Told of whose M12 or M13 the network has not delivered as it was sent. */
  feedDisturbed: (controller: string) => void = () => undefined;
  /** Sees all that is sent, and by whom in truth. */
  tap: (datagram: Datagram, sender: string) => void = () => undefined;
  /** Where a misrouted datagram may end up. */
  peers: readonly Address[] = [];
  /** IDs that a rewritten M1 may bear. */
  ids: readonly number[] = [];

  constructor(simulation: Simulation, conditions: NetworkConditions) {
    this.#simulation = simulation;
    this.#conditions = conditions;
    this.#random = simulation.random('network');
  }

  listen(address: Address, listener: Listener): void {
    this.#listeners.set(address, listener);
  }

  close(address: Address): void {
    this.#listeners.delete(address);
  }

  /** Sends for `sender`, which may differ from the source address `from`. */
  send(datagram: Datagram, sender: string = hostOf(datagram.from)): void {
    const { faults } = this.#simulation;
    const count = (this.#sent.get(sender) ?? 0) + 1;
    this.#sent.set(sender, count);
    this.#simulation.record(sender, `sends ${describeDatagram(datagram)} to ${datagram.to}`, datagram.payload);
    this.tap(datagram, sender);
    if (faults.over) return this.#deliver(datagram, this.#latency());

    const kind = kindOf(datagram);
    const name = `${sender}#${count} ${kind}`;
    const random = faults.random(name);
    const latency = random.between(1, 40);
    if (this.#isLost(kind, name, random)) {
      if (isOfFeed(kind)) this.feedDisturbed(controllerOf(datagram));
      return this.#simulation.record(sender, `that ${kind} is lost`);
    }
    const changed = this.#mutate(datagram, name, random);
    const at = this.#destinationOf(datagram, name, random);
    const delay = this.#delay(kind, name, random);
    if (isOfFeed(kind) && (changed !== datagram || at !== datagram.to || delay > 0)) this.feedDisturbed(controllerOf(datagram));
    this.#deliver(changed, latency + delay, at);
    if (random.uniform() < this.#conditions.doubled && faults.trigger(`${name} doubled`))
      this.#deliver(changed, latency + random.between(1, 5_000), at);
  }

  /** Like `send`, without faults: an attacker can avoid them. */
  inject(datagram: Datagram): void {
    this.#simulation.record('x', `sends ${describeDatagram(datagram)} to ${datagram.to} as ${datagram.from}`, datagram.payload);
    this.#deliver(datagram, 1);
  }

  #latency(): number {
    return this.#random.between(1, 40);
  }

  #isLost(kind: AnyKind, name: string, random: SeededRandom): boolean {
    const { lost, feed } = this.#conditions;
    const unlucky = random.uniform() < (isOfFeed(kind) ? feed.lost : lost[kind]);
    return this.#isBlackedOut(kind) || (unlucky && this.#simulation.faults.trigger(`${name} lost`));
  }

  /** One fault, however many datagrams it takes. */
  #isBlackedOut(kind: AnyKind): boolean {
    const { now, faults } = this.#simulation;
    if (isOfFeed(kind)) {
      const { from, to } = this.#conditions.feed.blackout ?? { from: 0, to: 0 };
      if (now < from || now >= to) return false;
      this.#isFeedBlackoutTriggered ??= faults.trigger(`no M12, M13 arrives from ${from} to ${to} ms`);
      return this.#isFeedBlackoutTriggered;
    }
    const { blackout } = this.#conditions;
    if (blackout === undefined || now < blackout.from || now >= blackout.to || !blackout.kinds.includes(kind)) return false;
    this.#isBlackoutTriggered ??= faults.trigger(
      `no ${blackout.kinds.join(', ')} arrives from ${blackout.from} to ${blackout.to} ms`,
    );
    return this.#isBlackoutTriggered;
  }

  #delay(kind: AnyKind, name: string, random: SeededRandom): number {
    const { delayed, feed } = this.#conditions;
    const { probability, ms } = isOfFeed(kind) ? feed.delayed : delayed;
    const [unlucky, delay] = [random.uniform() < probability, random.between(...ms)];
    return unlucky &&
      (isOfFeed(kind) || delayed.kinds.includes(kind)) &&
      this.#simulation.faults.trigger(`${name} held for ${delay} ms`)
      ? delay
      : 0;
  }

  #mutate(datagram: Datagram, name: string, random: SeededRandom): Datagram {
    const { corrupted, rewritten } = this.#conditions;
    const { faults } = this.#simulation;
    const { payload } = datagram;
    let changed = datagram;
    const bit = random.below(payload.length * 8);
    if (random.uniform() < corrupted && payload.length > 0 && faults.trigger(`${name} corrupted`))
      changed = { ...changed, payload: flipBit(payload, bit) };
    if (random.uniform() < rewritten && payload[0] === TYPE.M1 && faults.trigger(`${name} rewritten`)) {
      const octets = Uint8Array.from(changed.payload);
      new DataView(octets.buffer).setUint32(1, random.pick(this.ids));
      changed = { ...changed, payload: octets };
    }
    return changed;
  }

  /** Another of its kind than it is meant for, whose answer will look as if it came from there. */
  #destinationOf({ to, kind }: Datagram, name: string, random: SeededRandom): Address {
    const others = this.peers.filter((peer) => peer !== to && peer[0] === to[0]);
    const [unlucky, other] = [random.uniform() < this.#conditions.misrouted, others[random.below(Math.max(1, others.length))]];
    return unlucky &&
      other !== undefined &&
      kind === 'request' &&
      this.#simulation.faults.trigger(`${name} misrouted to ${other}`)
      ? other
      : to;
  }

  #deliver(datagram: Datagram, ms: number, at: Address = datagram.to): void {
    this.#simulation.events.schedule(ms, () => this.#listeners.get(at)?.(datagram));
  }
}

function isOfFeed(kind: AnyKind): kind is 'M12' | 'M13' {
  return kind === 'M12' || kind === 'M13';
}

/** The controller that sends an M12, or is sent an M13. */
function controllerOf({ kind, from, to }: Datagram): string {
  return hostOf(kind === 'request' ? from : to);
}

function describeDatagram({ kind, code, payload, maxAge }: Datagram): string {
  if (kind === 'reset') return 'a reset';
  const content = payload.length === 0 ? 'nothing' : kindOf({ payload }) === 'error' ? 'octets' : kindOf({ payload });
  return `${code === undefined ? '' : `${code} with `}${content}${maxAge === undefined ? '' : `, Max-Age ${maxAge}`}`;
}
