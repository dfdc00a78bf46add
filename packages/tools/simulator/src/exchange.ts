/**
 * A CoAP client towards one peer, as the roles see it. Mirrors `CoapClient` of packages/coap: a
 * connected socket (what comes from elsewhere is dropped), retransmission (RFC 7252 section 4.2), a
 * deadline, and answers that do not count, which do not end the exchange.
 */

import type { CoapCode } from '@latchkey/protocol';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import type { Address, Datagram, SimulatedNetwork } from './network.js';
import type { Process } from './process.js';

/** ACK_TIMEOUT, and that times ACK_RANDOM_FACTOR, in ms. */
const FIRST_TIMEOUT = [2_000, 3_000] as const;
const MAX_RETRANSMIT = 4;
/** One reset may be the past's or a forger's; two in one exchange are taken for an answer. */
const RESETS_BEFORE_UNREACHABLE = 2;

export interface Response {
  readonly code: CoapCode | undefined;
  readonly payload: Uint8Array;
  readonly maxAge: number | undefined;
  readonly echo: string | undefined;
}

export type ExchangeOutcome<T> =
  | { readonly kind: 'answered'; readonly value: T }
  | { readonly kind: 'timeout' }
  | { readonly kind: 'too-many-invalid' }
  | { readonly kind: 'unreachable' };

export interface ExchangeOptions<T> {
  readonly payload: Uint8Array;
  readonly deadlineMs: number;
  readonly echo?: string | undefined;
  readonly maxIgnored: number;
  readonly graceMs?: number;
  /** What an answer is worth; `undefined`: it does not count. */
  readonly accept: (response: Response) => T | undefined;
  readonly done: (outcome: ExchangeOutcome<T>) => void;
}

export class SimulatedClient {
  readonly #process: Process;
  readonly #network: SimulatedNetwork;
  readonly #random: SeededRandom;
  readonly #address: Address;
  readonly #peer: Address;
  readonly #pending = new Map<number, (datagram: Datagram) => void>();

  constructor(process: Process, network: SimulatedNetwork, random: SeededRandom, address: Address, peer: Address) {
    this.#process = process;
    this.#network = network;
    this.#random = random;
    this.#address = address;
    this.#peer = peer;
    network.listen(address, (datagram) => {
      if (datagram.from !== peer || datagram.kind === 'request') return;
      process.receive('takes an answer', () => this.#pending.get(datagram.token)?.(datagram));
    });
  }

  exchange<T>({ payload, deadlineMs, echo, maxIgnored, graceMs, accept, done }: ExchangeOptions<T>): void {
    const token = this.#random.u32();
    const endsAt = this.#process.monotonicMs + deadlineMs;
    let ignored = 0;
    let resets = 0;
    const end = (outcome: ExchangeOutcome<T>): void => {
      if (this.#pending.delete(token)) done(outcome);
    };
    this.#pending.set(token, (datagram) => {
      if (datagram.kind === 'reset') {
        resets += 1;
        if (resets >= RESETS_BEFORE_UNREACHABLE) end({ kind: 'unreachable' });
        return;
      }
      const value = accept({ code: datagram.code, payload: datagram.payload, maxAge: datagram.maxAge, echo: datagram.echo });
      if (value !== undefined) return end({ kind: 'answered', value });
      ignored += 1;
      if (ignored === 1 && graceMs !== undefined) {
        this.#process.schedule(Math.min(graceMs, endsAt - this.#process.monotonicMs), 'stops listening', () =>
          end({ kind: 'timeout' }),
        );
      }
      if (ignored > maxIgnored) end({ kind: 'too-many-invalid' });
    });
    this.#process.schedule(deadlineMs, 'gives up an exchange', () => end({ kind: 'timeout' }));
    this.#transmit(token, payload, echo, this.#random.between(...FIRST_TIMEOUT), MAX_RETRANSMIT);
  }

  #transmit(token: number, payload: Uint8Array, echo: string | undefined, timeout: number, left: number): void {
    if (!this.#pending.has(token)) return;
    this.#network.send({ from: this.#address, to: this.#peer, kind: 'request', token, payload, echo });
    if (left === 0) return;
    this.#process.schedule(timeout, 'retransmits', () => this.#transmit(token, payload, echo, 2 * timeout, left - 1));
  }

  close(): void {
    this.#pending.clear();
    this.#network.close(this.#address);
  }
}
