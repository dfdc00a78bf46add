/**
 * A CoAP client towards one peer, as the roles see it. Mirrors `CoapClient` of packages/runtime: a connected socket (what comes from
 * elsewhere is dropped), retransmission (RFC 7252 section 4.2), a deadline, and answers that do not count, which do not end the exchange.
 */

import type { CoapCode } from '@latchkey/protocol';
import type { Chance } from './chance.js';
import type { Address, Datagram, Network } from './network.js';
import type { Process } from './process.js';

/** ACK_TIMEOUT, and that times ACK_RANDOM_FACTOR, in ms. */
const FIRST_TIMEOUT = [2_000, 3_000] as const;
const MAX_RETRANSMIT = 4;
/** One reset may be the past's or a forger's; two in one exchange are taken for an answer. */
const RESETS_THAT_COUNT = 2;

export interface Response {
  readonly code: CoapCode | undefined;
  readonly payload: Uint8Array;
  readonly maxAge: number | undefined;
  readonly echo: string | undefined;
}

export type Outcome<T> =
  | { readonly kind: 'answered'; readonly value: T }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'deaf' }
  | { readonly kind: 'unreachable' };

export interface ExchangeOptions<T> {
  readonly payload: Uint8Array;
  readonly deadlineMs: number;
  readonly echo?: string | undefined;
  readonly maxIgnored: number;
  readonly patienceMs?: number;
  /** What an answer is worth; `undefined`: it does not count. */
  readonly judge: (response: Response) => T | undefined;
  readonly done: (outcome: Outcome<T>) => void;
}

export class Client {
  readonly #process: Process;
  readonly #network: Network;
  readonly #chance: Chance;
  readonly #address: Address;
  readonly #peer: Address;
  readonly #waiting = new Map<number, (datagram: Datagram) => void>();

  constructor(process: Process, network: Network, chance: Chance, address: Address, peer: Address) {
    this.#process = process;
    this.#network = network;
    this.#chance = chance;
    this.#address = address;
    this.#peer = peer;
    network.listen(address, (datagram) => {
      if (datagram.from !== peer || datagram.kind === 'request') return;
      process.receive('takes an answer', () => this.#waiting.get(datagram.token)?.(datagram));
    });
  }

  exchange<T>({ payload, deadlineMs, echo, maxIgnored, patienceMs, judge, done }: ExchangeOptions<T>): void {
    const token = this.#chance.u32();
    const endsAt = this.#process.steady + deadlineMs;
    let ignored = 0;
    let resets = 0;
    const end = (outcome: Outcome<T>): void => {
      if (this.#waiting.delete(token)) done(outcome);
    };
    this.#waiting.set(token, (datagram) => {
      if (datagram.kind === 'reset') {
        resets += 1;
        if (resets >= RESETS_THAT_COUNT) end({ kind: 'unreachable' });
        return;
      }
      const value = judge({ code: datagram.code, payload: datagram.payload, maxAge: datagram.maxAge, echo: datagram.echo });
      if (value !== undefined) return end({ kind: 'answered', value });
      ignored += 1;
      if (ignored === 1 && patienceMs !== undefined) {
        this.#process.after(Math.min(patienceMs, endsAt - this.#process.steady), 'stops listening', () =>
          end({ kind: 'timeout' }),
        );
      }
      if (ignored > maxIgnored) end({ kind: 'deaf' });
    });
    this.#process.after(deadlineMs, 'gives up an exchange', () => end({ kind: 'timeout' }));
    this.#transmit(token, payload, echo, this.#chance.between(...FIRST_TIMEOUT), MAX_RETRANSMIT);
  }

  #transmit(token: number, payload: Uint8Array, echo: string | undefined, timeout: number, left: number): void {
    if (!this.#waiting.has(token)) return;
    this.#network.send({ from: this.#address, to: this.#peer, kind: 'request', token, payload, echo });
    if (left === 0) return;
    this.#process.after(timeout, 'retransmits', () => this.#transmit(token, payload, echo, 2 * timeout, left - 1));
  }

  close(): void {
    this.#waiting.clear();
    this.#network.close(this.#address);
  }
}
