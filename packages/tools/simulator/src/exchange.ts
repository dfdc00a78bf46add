/**
 * A CoAP client towards one peer, as the roles see it. Mirrors `CoapClient` of packages/coap: a
 * connected socket (what comes from elsewhere is dropped), retransmission (RFC 7252 section 4.2), a
 * deadline, and answers that do not count, which do not end the exchange.
 */

import type { CoapAuthServerClient } from '@latchkey/controller/auth-server-client';
import type { SeededRandom } from '@latchkey/test-support/seeded-random';
import { type Address, type Datagram, hostOf, type SimulatedNetwork } from './network.js';
import type { Process } from './process.js';

/** ACK_TIMEOUT, and that times ACK_RANDOM_FACTOR, in ms. */
const FIRST_TIMEOUT = [2_000, 3_000] as const;
const MAX_RETRANSMIT = 4;
/** One reset may be the past's or a forger's; two in one exchange are taken for an answer. */
const RESETS_BEFORE_UNREACHABLE = 2;

/** The part of `CoapClient` that a controller uses; a node uses less. */
type CoapClient = Awaited<ReturnType<NonNullable<ConstructorParameters<typeof CoapAuthServerClient>[2]>['connect']>>;

interface Response {
  readonly code: string;
  readonly payload: Buffer;
  readonly maxAge: number | undefined;
  readonly echo: Buffer | undefined;
}

export type ExchangeOutcome<T> =
  | { readonly kind: 'answered'; readonly value: T }
  | { readonly kind: 'timeout'; readonly ignored: number; readonly lastCode: string | undefined }
  | { readonly kind: 'too-many-invalid'; readonly ignored: number }
  | { readonly kind: 'unreachable'; readonly code: string };

interface ExchangeOptions<T> {
  readonly payload: Uint8Array;
  readonly deadlineMs: number;
  readonly echo?: Buffer | undefined;
  readonly maxIgnored: number;
  readonly graceMs?: number;
  readonly unlessAlive?: { readonly afterMs: number; readonly isAlive: () => boolean } | undefined;
  /** What an answer is worth; `undefined`: it does not count. */
  readonly accept: (response: Response) => T | undefined;
}

export class SimulatedClient implements CoapClient {
  readonly #process: Process;
  readonly #network: SimulatedNetwork;
  readonly #random: SeededRandom;
  readonly #local: Address;
  readonly #peer: Address;
  readonly #pending = new Map<number, (datagram: Datagram) => void>();
  readonly address: string;
  #onIdle: () => void = () => undefined;

  constructor(process: Process, network: SimulatedNetwork, random: SeededRandom, address: Address, peer: Address) {
    this.#process = process;
    this.#network = network;
    this.#random = random;
    this.#local = address;
    this.#peer = peer;
    this.address = hostOf(peer);
    network.listen(address, (datagram) => {
      if (datagram.from !== peer || datagram.kind === 'request') return;
      process.receive('takes an answer', () => this.#pending.get(datagram.token)?.(datagram));
    });
  }

  exchange<T>(options: ExchangeOptions<T>): Promise<ExchangeOutcome<T>> {
    return new Promise((resolve) => {
      this.#begin(options, (outcome) => {
        this.#process.simulation.unsettled();
        resolve(outcome);
      });
    });
  }

  #begin<T>(
    { payload, deadlineMs, echo, maxIgnored, graceMs, unlessAlive, accept }: ExchangeOptions<T>,
    done: (outcome: ExchangeOutcome<T>) => void,
  ): void {
    const token = this.#random.u32();
    const endsAt = this.#process.monotonicMs + deadlineMs;
    let ignored = 0;
    let lastCode: string | undefined;
    let resets = 0;
    const end = (outcome: ExchangeOutcome<T>): void => {
      if (!this.#pending.delete(token)) return;
      if (this.#pending.size === 0) this.#onIdle();
      done(outcome);
    };
    const timeOut = (): void => end({ kind: 'timeout', ignored, lastCode });
    this.#pending.set(token, (datagram) => {
      if (datagram.kind === 'reset') {
        resets += 1;
        if (resets >= RESETS_BEFORE_UNREACHABLE) end({ kind: 'unreachable', code: 'ECONNREFUSED' });
        return;
      }
      const response = responseOf(datagram);
      const value = accept(response);
      if (value !== undefined) return end({ kind: 'answered', value });
      ignored += 1;
      lastCode = response.code;
      if (ignored === 1 && graceMs !== undefined)
        this.#process.schedule(Math.min(graceMs, endsAt - this.#process.monotonicMs), 'stops listening', timeOut);
      if (ignored > maxIgnored) end({ kind: 'too-many-invalid', ignored });
    });
    this.#process.schedule(deadlineMs, 'gives up an exchange', timeOut);
    if (unlessAlive !== undefined)
      this.#process.schedule(unlessAlive.afterMs, 'doubts a socket', () => {
        if (!unlessAlive.isAlive()) timeOut();
      });
    this.#transmit(token, payload, echo?.toString('latin1'), this.#random.between(...FIRST_TIMEOUT), MAX_RETRANSMIT);
  }

  #transmit(token: number, payload: Uint8Array, echo: string | undefined, timeout: number, left: number): void {
    if (!this.#pending.has(token)) return;
    this.#network.send({ from: this.#local, to: this.#peer, kind: 'request', token, payload, echo });
    if (left === 0) return;
    this.#process.schedule(timeout, 'retransmits', () => this.#transmit(token, payload, echo, 2 * timeout, left - 1));
  }

  /** Nothing in a world looks at `/readyz`, for which sockets are pinged. */
  ping(): Promise<boolean> {
    throw new Error('no ping is simulated');
  }

  closeWhenIdle(): Promise<void> {
    if (this.#pending.size === 0) return this.close();
    return new Promise((resolve) => {
      this.#onIdle = (): void => resolve(this.close());
    });
  }

  /** Exchanges in flight never end: in a world only the end of a process closes their socket. */
  close(): Promise<void> {
    this.#pending.clear();
    this.#network.close(this.#local);
    return Promise.resolve();
  }
}

function responseOf({ code, payload, maxAge, echo }: Datagram): Response {
  return {
    code: code ?? '0.00',
    payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
    maxAge,
    echo: echo === undefined ? undefined : Buffer.from(echo, 'latin1'),
  };
}
