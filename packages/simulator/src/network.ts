/**
 * The network between nodes, controllers and auth-servers: datagrams that are lost, doubled, delayed, reordered, corrupted, and answered by
 * somebody else than was asked. What CoAP adds is here as far as the roles can see it: tokens, codes, Max-Age, Echo.
 */

import { type CoapCode, TYPE } from '@latchkey/protocol';
import type { Chance } from './chance.js';
import type { Ground } from './ground.js';

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

const MESSAGES = ['M1', 'M2', 'M3', 'M4', 'M5', 'M6', 'M7', 'M8', 'M9'] as const;
/** What a datagram carries; `error`: an answer with a code and nothing else. */
export type Kind = (typeof MESSAGES)[number] | 'error';
export const KINDS: readonly Kind[] = [...MESSAGES, 'error'];

/** How the network is. Probabilities are for each datagram, times in ms. */
export interface Weather {
  readonly lost: Readonly<Record<Kind, number>>;
  /** Kinds that never arrive for a while. */
  readonly siege: { readonly kinds: readonly Kind[]; readonly from: number; readonly to: number } | undefined;
  readonly doubled: number;
  readonly corrupted: number;
  readonly misrouted: number;
  /** On its way an M1 becomes that of another node. */
  readonly rewritten: number;
  readonly held: { readonly kinds: readonly Kind[]; readonly probability: number; readonly ms: readonly [number, number] };
}

export function hostOf(address: Address): string {
  return address.slice(0, address.indexOf(':'));
}

export function kindOf({ payload }: Pick<Datagram, 'payload'>): Kind {
  const type = payload[0] ?? 0;
  return type >= TYPE.M1 && type <= TYPE.M9 ? (MESSAGES[(type & 0x0f) - 1] ?? 'error') : 'error';
}

/** A copy with one bit changed, bit 0 being the highest of the first octet. */
export function flipped(octets: Uint8Array, bit: number): Uint8Array {
  return octets.map((octet, i) => (i === bit >> 3 ? octet ^ (0x80 >> (bit & 7)) : octet));
}

type Listener = (datagram: Datagram) => void;

export class Network {
  readonly #ground: Ground;
  readonly #weather: Weather;
  readonly #listeners = new Map<Address, Listener>();
  readonly #sent = new Map<string, number>();
  readonly #chance: Chance;
  /** Whether there is a siege, once that is known. */
  #siege: boolean | undefined;
  /** Sees all that is sent, and by whom in truth. */
  tap: (datagram: Datagram, sender: string) => void = () => undefined;
  /** Where a misrouted datagram may end up. */
  peers: readonly Address[] = [];
  /** IDs that a rewritten M1 may bear. */
  ids: readonly number[] = [];

  constructor(ground: Ground, weather: Weather) {
    this.#ground = ground;
    this.#weather = weather;
    this.#chance = ground.chance('network');
  }

  listen(address: Address, listener: Listener): void {
    this.#listeners.set(address, listener);
  }

  close(address: Address): void {
    this.#listeners.delete(address);
  }

  /** Sends for `sender`, who need not be who `from` says. */
  send(datagram: Datagram, sender: string = hostOf(datagram.from)): void {
    const { faults } = this.#ground;
    const count = (this.#sent.get(sender) ?? 0) + 1;
    this.#sent.set(sender, count);
    this.#ground.note(sender, `sends ${describe(datagram)} to ${datagram.to}`, datagram.payload);
    this.tap(datagram, sender);
    if (faults.over) return this.#deliver(datagram, this.#latency());

    const name = `${sender}#${count} ${kindOf(datagram)}`;
    const chance = faults.chance(name);
    const latency = chance.between(1, 40);
    if (this.#isLost(datagram, name, chance)) return this.#ground.note(sender, `that ${kindOf(datagram)} is lost`);
    const changed = this.#change(datagram, name, chance);
    const at = this.#whereTo(datagram, name, chance);
    this.#deliver(changed, latency + this.#delay(datagram, name, chance), at);
    if (chance.uniform() < this.#weather.doubled && faults.strikes(`${name} doubled`))
      this.#deliver(changed, latency + chance.between(1, 5_000), at);
  }

  /** As `send`, with nothing going wrong: an attacker knows how to. */
  inject(datagram: Datagram): void {
    this.#ground.note('x', `sends ${describe(datagram)} to ${datagram.to} as ${datagram.from}`, datagram.payload);
    this.#deliver(datagram, 1);
  }

  #latency(): number {
    return this.#chance.between(1, 40);
  }

  #isLost(datagram: Datagram, name: string, chance: Chance): boolean {
    const { lost } = this.#weather;
    const unlucky = chance.uniform() < lost[kindOf(datagram)];
    return this.#isBesieged(kindOf(datagram)) || (unlucky && this.#ground.faults.strikes(`${name} lost`));
  }

  /** One fault, however many datagrams it takes. */
  #isBesieged(kind: Kind): boolean {
    const { siege } = this.#weather;
    const { now, faults } = this.#ground;
    if (siege === undefined || now < siege.from || now >= siege.to || !siege.kinds.includes(kind)) return false;
    this.#siege ??= faults.strikes(`no ${siege.kinds.join(', ')} arrives from ${siege.from} to ${siege.to} ms`);
    return this.#siege;
  }

  #delay(datagram: Datagram, name: string, chance: Chance): number {
    const { kinds, probability, ms } = this.#weather.held;
    const [unlucky, delay] = [chance.uniform() < probability, chance.between(...ms)];
    return unlucky && kinds.includes(kindOf(datagram)) && this.#ground.faults.strikes(`${name} held for ${delay} ms`) ? delay : 0;
  }

  #change(datagram: Datagram, name: string, chance: Chance): Datagram {
    const { corrupted, rewritten } = this.#weather;
    const { faults } = this.#ground;
    const { payload } = datagram;
    let changed = datagram;
    const bit = chance.below(payload.length * 8);
    if (chance.uniform() < corrupted && payload.length > 0 && faults.strikes(`${name} corrupted`))
      changed = { ...changed, payload: flipped(payload, bit) };
    if (chance.uniform() < rewritten && payload[0] === TYPE.M1 && faults.strikes(`${name} rewritten`)) {
      const octets = Uint8Array.from(changed.payload);
      new DataView(octets.buffer).setUint32(1, chance.pick(this.ids));
      changed = { ...changed, payload: octets };
    }
    return changed;
  }

  /** Another of its kind than it is meant for, whose answer will look as if it came from there. */
  #whereTo({ to, kind }: Datagram, name: string, chance: Chance): Address {
    const others = this.peers.filter((peer) => peer !== to && peer[0] === to[0]);
    const [unlucky, other] = [chance.uniform() < this.#weather.misrouted, others[chance.below(Math.max(1, others.length))]];
    return unlucky && other !== undefined && kind === 'request' && this.#ground.faults.strikes(`${name} misrouted to ${other}`)
      ? other
      : to;
  }

  #deliver(datagram: Datagram, ms: number, at: Address = datagram.to): void {
    this.#ground.timeline.after(ms, () => this.#listeners.get(at)?.(datagram));
  }
}

function describe({ kind, code, payload, maxAge }: Datagram): string {
  if (kind === 'reset') return 'a reset';
  const content = payload.length === 0 ? 'nothing' : kindOf({ payload }) === 'error' ? 'octets' : kindOf({ payload });
  return `${code === undefined ? '' : `${code} with `}${content}${maxAge === undefined ? '' : `, Max-Age ${maxAge}`}`;
}
